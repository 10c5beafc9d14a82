"""What every command shares: settings, a database, one way to answer and one way to fail.

Exit codes: 0 done; 1 done and the answer is no (violations found, a request refused); 2 could not
run (usage, settings, servers).
"""

import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from finpay.db.pool import Database
    from finpay.errors import FinPayError
    from finpay.settings import Settings

T = TypeVar("T")

REFUSED: Final = 1
COULD_NOT_RUN: Final = 2
STYLE: Final[dict[str, Any]] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
_BESIDE_DEV: Final = (
    "DATABASE_URL is not set. Beside a running `finpay dev`, load its servers first: "
    "set -a; . .finpay/env; set +a"
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


def answer(members: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(members, ensure_ascii=False))
    else:
        print("\n".join(f"{name:<16}{value}" for name, value in members.items()))
        if members["repeated"]:
            print("The key was known: nothing was done now, and this is the first answer.")


def operate(
    command: Callable[["Database"], Coroutine[Any, Any, T]], key: str, *, as_json: bool
) -> T:
    """Runs an operator's command with the owner's rights. A refusal exits with 1."""
    from finpay.db.pool import Unavailable
    from finpay.errors import FinPayError

    async def work() -> T:
        async with open_database(settings().owner_url, "finpay_owner") as database:
            return await command(database)

    try:
        return run(work())
    except Unavailable as error:
        if error.may_have_run:
            warn(f"Whether it was done is not known. Repeat it with --key {key} to be sure.")
        raise
    except FinPayError as error:
        refuse(error, as_json=as_json)


def run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        warn("Interrupted.")
        raise typer.Exit(COULD_NOT_RUN) from None


@asynccontextmanager
async def open_database(url: str, role: str) -> AsyncIterator["Database"]:
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


def settings() -> "Settings":
    from finpay import settings

    return settings.read()


def fresh_key() -> str:
    return f"cli-{os.urandom(16).hex()}"


def refuse(error: "FinPayError", *, as_json: bool) -> NoReturn:
    """The command was understood and the answer is no; what isn't valid could not even run."""
    from finpay.errors import Code

    if as_json:
        answer({"code": error.code, "detail": error.detail}, as_json=True)
    else:
        warn(error.detail)
    raise typer.Exit(COULD_NOT_RUN if error.code is Code.VALIDATION_FAILED else REFUSED)


def fail(error: Exception) -> NoReturn:
    warn(_sentence(error))
    if os.environ.get("FINPAY_LOG_LEVEL") == "debug":
        traceback.print_exception(error)
    sys.exit(COULD_NOT_RUN)


def hints() -> list[str]:
    """What to do where PostgreSQL was looked for at the default place; none where it is named."""
    return [] if os.environ.get("DATABASE_URL") else [_BESIDE_DEV]


def _sentence(error: Exception) -> str:
    from finpay.app.preflight import StartupRefused
    from finpay.db.migrate import MigrationError
    from finpay.db.pool import Unavailable
    from finpay.dev.child_process import DevError
    from finpay.settings import SettingsError

    if isinstance(error, Unavailable):
        return "\n".join([f"PostgreSQL can't be used: {error.__cause__ or error.detail}", *hints()])
    if isinstance(error, (DevError, StartupRefused, MigrationError, SettingsError)):
        return str(error)
    return f"Unexpected: {error!r}. FINPAY_LOG_LEVEL=debug shows where."


def warn(text: str) -> None:
    print(f"finpay: {text}", file=sys.stderr)
