"""The command line: every way to start FinPay, to operate it, and to prove it.

Exit codes: 0 done; 1 done and the answer is no (violations found, a request refused); 2 could not
run (usage, settings, servers). Imports are inside the commands, so that `finpay --help` is quick.
"""

import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from finpay.db.pool import Database
    from finpay.errors import FinPayError
    from finpay.ledger.operator import Status
    from finpay.ledger.verify import Check
    from finpay.settings import Settings

T = TypeVar("T")

_REFUSED: Final = 1
_COULD_NOT_RUN: Final = 2
_BESIDE_DEV: Final = (
    "DATABASE_URL is not set. Beside a running `finpay dev`, load its servers first: "
    "set -a; . .finpay/env; set +a"
)

_STYLE: Final[dict[str, Any]] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
_app = typer.Typer(
    **_STYLE, help="FinPay: a payment API you can run alone and trust with money. Begin with: dev"
)
_ledger = typer.Typer(**_STYLE, help="Prove that the money is right.")
_account = typer.Typer(
    **_STYLE, help="Operate an account: put money in, freeze it. Needs FINPAY_DATABASE_OWNER_URL."
)
_app.add_typer(_ledger, name="ledger")
_app.add_typer(_account, name="account")

_Target = Annotated[str, typer.Argument(metavar="ACCOUNT", help="acc_… or the owner's e-mail.")]
_Key = Annotated[
    str | None,
    typer.Option(
        help="Idempotency key: the same command with the same key is done once. "
        "Without it a fresh one is made and shown."
    ),
]
_Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


def main() -> None:
    """The entry point: whatever goes wrong is one sentence on stderr and exit code 2."""
    try:
        _app(prog_name="finpay")
    except Exception as error:  # noqa: BLE001  a traceback would exit with 1, which means "no"
        _fail(error)


@_app.command()
def dev() -> None:
    """Start everything on this machine, ready to use.

    PostgreSQL, Valkey, the API, and two users with money. The data stays in .finpay/ for the next
    time; Ctrl-C stops it all. Servers that DATABASE_URL and REDIS_URL name are used instead.
    """
    from finpay.dev.up import up

    raise typer.Exit(up(_settings(), os.environ, Path(".finpay")))


@_app.command()
def serve() -> None:
    """Run the API. It never migrates: `finpay migrate` does."""
    from finpay import serving

    raise typer.Exit(serving.serve(_settings()))


@_app.command()
def migrate() -> None:
    """Bring the database to this version's shape; safe to repeat."""
    from finpay.db import migrate as migrations

    owner_url = _settings().owner_url
    _run(migrations.prepare(owner_url))
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

    for seeded in _run(sow(_settings().owner_url)):
        done = "created" if seeded.created else "already there"
        print(f"{seeded.email:<18}{seeded.account_id}  {done}")


@_app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the API."""
    from finpay.edge.openapi import document

    print(json.dumps(document(), indent=2, ensure_ascii=False))


@_ledger.command()
def verify(*, as_json: _Json = False) -> None:
    """Check every rule of the ledger on live data, while money may go on moving.

    Exit code 0: all rules hold. 1: violations, each named. 2: it could not run.
    """
    from finpay.ledger import verify as proof

    async def prove() -> proof.Report:
        async with _database(_settings().database_url, "finpay_app") as database:
            return await proof.verify(database, progress=(lambda _: None) if as_json else _show)

    report = _run(prove())
    if as_json:
        print(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        print(f"{sum(check.ok for check in report.checks)} of {len(report.checks)} checks hold.")
    raise typer.Exit(0 if report.ok else _REFUSED)


@_account.command()
def fund(
    account: _Target,
    amount: Annotated[int, typer.Argument(help="In minor units: 50000 is ZAR 500.00.")],
    *,
    key: _Key = None,
    as_json: _Json = False,
) -> None:
    """Move money from the outside world into an account."""
    from finpay.ledger import operator
    from finpay.money import Money

    key = key or _fresh_key()
    funding = _operate(lambda db: operator.fund(db, account, amount, key), key, as_json=as_json)
    members = asdict(funding) | {"key": key}
    if not as_json:
        members["amount"] = Money(funding.amount, funding.currency)
        members["balance"] = Money(funding.balance, funding.currency)
    _answer(members, as_json=as_json)


@_account.command()
def freeze(account: _Target, *, reason: _Reason, key: _Key = None, as_json: _Json = False) -> None:
    """Stop an account: it neither sends nor receives until it is unfrozen."""
    _set_status(account, "frozen", reason, key, as_json=as_json)


@_account.command()
def unfreeze(
    account: _Target, *, reason: _Reason, key: _Key = None, as_json: _Json = False
) -> None:
    """Let a frozen account send and receive again."""
    _set_status(account, "active", reason, key, as_json=as_json)


def _set_status(
    account: str, status: "Status", reason: str, key: str | None, *, as_json: bool
) -> None:
    from finpay.ledger import operator

    key = key or _fresh_key()
    change = _operate(
        lambda db: operator.set_status(db, account, status, reason, key), key, as_json=as_json
    )
    _answer(asdict(change) | {"key": key}, as_json=as_json)


def _answer(members: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(members, ensure_ascii=False))
    else:
        print("\n".join(f"{name:<16}{value}" for name, value in members.items()))
        if members["repeated"]:
            print("The key was known: nothing was done now, and this is the first answer.")


def _operate(
    command: Callable[["Database"], Coroutine[Any, Any, T]], key: str, *, as_json: bool
) -> T:
    """Runs an operator's command with the owner's rights. A refusal exits with 1."""
    from finpay.db.pool import Unavailable
    from finpay.errors import FinPayError

    async def run() -> T:
        async with _database(_settings().owner_url, "finpay_owner") as database:
            return await command(database)

    try:
        return _run(run())
    except Unavailable as error:
        if error.may_have_run:
            _warn(f"Whether it was done is not known. Repeat it with --key {key} to be sure.")
        raise
    except FinPayError as error:
        _refuse(error, as_json=as_json)


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        _warn("Interrupted.")
        raise typer.Exit(_COULD_NOT_RUN) from None


@asynccontextmanager
async def _database(url: str, role: str) -> AsyncIterator["Database"]:
    """One connection, to a database that has every migration."""
    from finpay.db import migrate as migrations
    from finpay.db.pool import Database

    database = Database(url, size=1, role=role)
    try:
        if missing := await migrations.missing(database):
            raise migrations.MigrationError(
                f"{missing[0]} was not applied to this database; run `finpay migrate` first"
            )
        yield database
    finally:
        await database.close()


def _settings() -> "Settings":
    from finpay import settings

    return settings.read()


def _fresh_key() -> str:
    return f"cli-{os.urandom(16).hex()}"


def _refuse(error: "FinPayError", *, as_json: bool) -> NoReturn:
    """The command was understood and the answer is no; what isn't valid could not even run."""
    from finpay.errors import Code

    if as_json:
        _answer({"code": error.code, "detail": error.detail}, as_json=True)
    else:
        _warn(error.detail)
    raise typer.Exit(_COULD_NOT_RUN if error.code is Code.VALIDATION_FAILED else _REFUSED)


def _fail(error: Exception) -> NoReturn:
    _warn(_sentence(error))
    if os.environ.get("FINPAY_LOG_LEVEL") == "debug":
        traceback.print_exception(error)
    sys.exit(_COULD_NOT_RUN)


def _sentence(error: Exception) -> str:
    from finpay.db.migrate import MigrationError
    from finpay.db.pool import Unavailable
    from finpay.dev.servers import DevError
    from finpay.settings import SettingsError

    if isinstance(error, Unavailable):
        hint = "" if os.environ.get("DATABASE_URL") else f"\n{_BESIDE_DEV}"
        return f"PostgreSQL can't be used: {error.__cause__ or error.detail}{hint}"
    if isinstance(error, (DevError, MigrationError, SettingsError)):
        return str(error)
    return f"Unexpected: {error!r}. FINPAY_LOG_LEVEL=debug shows where."


def _show(check: "Check") -> None:
    count = "" if check.ok else f"  {check.count} violations"
    print(f"{'ok' if check.ok else 'FAILED':<8}{check.name}{count}", flush=True)
    for violation in check.violations:
        print(f"        {violation}")


def _warn(text: str) -> None:
    print(f"finpay: {text}", file=sys.stderr)
