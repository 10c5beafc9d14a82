"""The entry point, and the commands that start something."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from finpay.cli import account, ledger, webhooks
from finpay.cli.context import STYLE, fail, run, settings
from finpay.cli.doctor import doctor

_app = typer.Typer(
    **STYLE, help="FinPay: a payment API you can run alone and trust with money. Begin with: dev"
)
_app.add_typer(ledger.group, name="ledger")
_app.add_typer(account.group, name="account")
_app.add_typer(webhooks.group, name="webhooks")
_app.command()(doctor)


def main() -> None:
    """Whatever goes wrong is one sentence on stderr and exit code 2."""
    try:
        _app(prog_name="finpay")
    except Exception as error:  # noqa: BLE001  a traceback would exit with 1, which means "no"
        fail(error)


@_app.command()
def dev() -> None:
    """Start everything on this machine, ready to use.

    PostgreSQL, Valkey, the API, and two users with money. The data stays in .finpay/ for the next
    time; Ctrl-C stops it all. Servers that DATABASE_URL and REDIS_URL name are used instead.
    """
    from finpay.dev.command import up

    raise typer.Exit(up(settings(), os.environ, Path(".finpay")))


@_app.command()
def serve() -> None:
    """Run the API. It never migrates: `finpay migrate` does."""
    from finpay.app import supervisor

    raise typer.Exit(supervisor.serve(settings()))


@_app.command()
def worker(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Deliver what is due now, then end with 0.")
    ] = False,
) -> None:
    """Deliver webhooks. Any number of workers share the work; a signal ends one in good order."""
    from finpay.app import worker

    done = worker.work(settings(), once=once)
    if once:
        print(f"{done.delivered} delivered, {done.failed} attempts failed.")


@_app.command()
def migrate() -> None:
    """Bring the database to this version's shape; safe to repeat."""
    from finpay.db import migrate as migrations

    owner_url = settings().owner_url
    run(migrations.prepare(owner_url))
    for name in migrations.apply(owner_url):
        print(f"applied  {name}")
    print("The database is up to date.")


@_app.command()
def seed() -> None:
    """Create the users alice and bob, with money.

    alice@finpay.dev has ZAR 10,000.00 and bob@finpay.dev ZAR 5,000.00; the password of both is
    password123, so this is for development only. Those who are there already are left alone.
    """
    from finpay.dev.seed import seed as sow

    for seeded in run(sow(settings().owner_url)):
        done = "created" if seeded.created else "already there"
        print(f"{seeded.email:<18}{seeded.account_id}  {done}")


@_app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the API."""
    from finpay.edge.openapi import document

    print(json.dumps(document(), indent=2, ensure_ascii=False))
