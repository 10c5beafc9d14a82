"""Shared by all commands: settings, the database, printing of results and errors, exit codes.

0: done. 1: ran, with a negative result (violations found, the command refused). 2: could not run
(usage, settings, servers).
"""

import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
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
_DEV_ENV: Final = Path(".finpay/env")  # of a running `finpay dev` in this folder
_DEV_HINT: Final = (
    "DATABASE_URL is not set. To use the servers of a running `finpay dev`, load their URLs first: "
    "set -a; . .finpay/env; set +a"
)

_START_HINT: Final = (
    "DATABASE_URL is not set, and this folder has no .finpay/env of a running `finpay dev`. "
    "Start one with `make dev` (or `finpay dev`), or set DATABASE_URL."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_result(members: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(members, ensure_ascii=False))
    else:
        shown = {name: value for name, value in members.items() if name != "repeated"}
        width = max(16, *(len(name) + 2 for name in shown))
        print("\n".join(f"{name:<{width}}{value}" for name, value in shown.items()))
        if members.get("repeated"):
            print("The key was used before: nothing was done now, this is the first result.")


def print_rows(rows: Sequence[Mapping[str, Any]], none: str, *, as_json: bool) -> None:
    """A list, one line each for people, who read `none` if it is empty."""
    from finpay.cli.presentation import for_people

    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        print("  ".join(f"{name}={value}" for name, value in for_people(row).items()))
    if not rows:
        print(none)


def run_as_owner(
    command: Callable[["Database"], Coroutine[Any, Any, T]], key: str, *, as_json: bool
) -> T:
    """Runs an operator's command with the rights of finpay_owner. Exits with 1 if it is refused."""
    from finpay.db.pool import Unavailable
    from finpay.errors import FinPayError

    async def work() -> T:
        read = settings()
        options = read.session_settings
        async with open_database(read.owner_url, "finpay_owner", options) as database:
            return await command(database)

    try:
        return run(work())
    except Unavailable as error:
        if error.may_have_run:
            warn(f"The command may have been done. Repeat it with --key {key} to be sure.")
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
async def open_database(
    url: str, role: str, session_settings: Mapping[str, str] | None = None
) -> AsyncIterator["Database"]:
    """One connection, to a database that has every migration."""
    from finpay.db import migrate as migrations
    from finpay.db.pool import Database

    database = Database(url, size=1, role=role, session_settings=session_settings)
    try:
        if missing := await migrations.missing(database):
            raise migrations.MigrationError(
                f"{missing[0]} was not applied to this database; run `finpay migrate` first"
            )
        yield database
    finally:
        await database.close()


def settings(environ: Mapping[str, str] = os.environ) -> "Settings":
    from finpay import settings

    return settings.read(environ)


def dev_environment() -> dict[str, str]:
    """Where the servers of a running `finpay dev` in this folder are; empty without one."""
    written = _DEV_ENV.read_text("utf-8") if _DEV_ENV.exists() else ""
    pairs = (line.partition("=") for line in written.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


def fresh_key() -> str:
    return f"cli-{os.urandom(16).hex()}"


def refuse(error: "FinPayError", *, as_json: bool) -> NoReturn:
    """Prints the error and exits with 1; with 2 if an argument is invalid."""
    from finpay.errors import Code

    if as_json:
        members = {"code": error.code, "detail": error.detail, **error.extensions}
        print_result(members, as_json=True)
    else:
        warn(error.detail)
    raise typer.Exit(COULD_NOT_RUN if error.code is Code.VALIDATION_FAILED else REFUSED)


def fail(error: Exception) -> NoReturn:
    warn(_sentence(error))
    if os.environ.get("FINPAY_LOG_LEVEL") == "debug":
        traceback.print_exception(error)
    sys.exit(COULD_NOT_RUN)


def hints() -> list[str]:
    """Advice for when PostgreSQL can't be reached at the default address; none if it was named."""
    if os.environ.get("DATABASE_URL"):
        return []
    return [_DEV_HINT if _DEV_ENV.exists() else _START_HINT]


def _sentence(error: Exception) -> str:
    from finpay.app.preflight import StartupRefused
    from finpay.db.migrate import MigrationError
    from finpay.db.pool import Unavailable
    from finpay.dev.child_process import DevError
    from finpay.errors import cause_of
    from finpay.settings import SettingsError

    if isinstance(error, Unavailable):
        return "\n".join([f"can't use PostgreSQL: {cause_of(error)}", *hints()])
    if isinstance(error, (DevError, StartupRefused, MigrationError, SettingsError)):
        return str(error)
    return f"unexpected error: {error!r}; set FINPAY_LOG_LEVEL=debug to see the traceback"


def warn(text: str) -> None:
    print(f"finpay: {text}", file=sys.stderr)
