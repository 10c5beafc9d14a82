"""The entry point, and the commands without a group."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from finpay.cli import account, ledger, operators, payments, webhooks
from finpay.cli.context import STYLE, fail, run, settings
from finpay.cli.doctor import doctor

_app = typer.Typer(
    **STYLE,
    help="FinPay, a wallet and payment API.\n\n"
    "`finpay dev` starts all of it on this machine, with two users that have money. Settings are "
    "environment variables: docs/settings.md.",
)


def main() -> None:
    """Runs a command. An error is one sentence on stderr and exit code 2."""
    try:
        _app(prog_name="finpay")
    except Exception as error:  # noqa: BLE001  a traceback would exit with 1: a negative result
        fail(error)


@_app.command()
def dev() -> None:
    """Start PostgreSQL, Valkey, the API and a worker.

    For development: two users with money are created, and the output has a command that sends some.
    Ctrl-C stops everything. The data stays in .finpay/ for the next start.

    If DATABASE_URL or REDIS_URL is set, that server is used instead of starting one.
    """
    from finpay.dev.command import up

    raise typer.Exit(up(settings(), os.environ, Path(".finpay")))


@_app.command()
def serve() -> None:
    """Run the API.

    The database has to have all migrations: run `finpay migrate` before.
    """
    from finpay.app import supervisor

    raise typer.Exit(supervisor.serve(settings()))


@_app.command()
def worker(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Deliver the due webhooks, then exit with 0.")
    ] = False,
) -> None:
    """Deliver webhooks and mails, run schedules, check the ledger.

    It also expires holds and payment requests, and applies raised limits. Several workers share the
    work. SIGTERM and Ctrl-C stop a worker after its current deliveries.
    """
    from finpay.app import worker

    summary = worker.work(settings(), once=once)
    if once:
        print(f"{summary.delivered} delivered, {summary.failed} attempts failed.")


@_app.command()
def migrate() -> None:
    """Create or upgrade the tables and roles in the database.

    Connects with FINPAY_DATABASE_OWNER_URL, or else DATABASE_URL. Applied migrations are skipped.
    """
    from finpay.db import migrate as migrations

    owner_url = settings().owner_url
    run(migrations.prepare(owner_url))
    for name in run(migrations.apply(owner_url)):
        print(f"applied  {name}")
    print("The database is up to date.")


@_app.command()
def seed() -> None:
    """Create the users alice and bob, with money, for development.

    alice@finpay.dev gets ZAR 10,000.00, bob@finpay.dev ZAR 5,000.00. The password of both is
    password123. Existing users are not changed.
    """
    from finpay.dev.seed import seed as seed_users

    for seeded in run(seed_users(settings().owner_url)):
        done = "created" if seeded.created else "exists"
        print(f"{seeded.email:<18}{seeded.account_id}  {done}")


@_app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the API."""
    from finpay.edge.openapi import document

    print(json.dumps(document(), indent=2, ensure_ascii=False))


_app.command()(doctor)
_app.command()(payments.deposit)
_app.add_typer(ledger.group, name="ledger")
_app.add_typer(account.group, name="account")
_app.add_typer(payments.withdrawals, name="withdrawal")
_app.add_typer(payments.holds, name="hold")
_app.add_typer(payments.transactions, name="transaction")
_app.add_typer(operators.group, name="operator")
_app.add_typer(webhooks.group, name="webhooks")
