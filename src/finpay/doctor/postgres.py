"""PostgreSQL: connection, version, encoding, durability, clock, migrations."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import urlsplit

from finpay.app.api import OPERATOR_POOL_SIZE, READ_POOL_SIZE
from finpay.db import migrate
from finpay.db.pool import AccessDenied, Database, Record, Unavailable
from finpay.doctor import postgres_rights
from finpay.doctor.checks import CheckResult, failed, is_local_host, ok, production_error, warning
from finpay.errors import cause_of
from finpay.ledger.batcher import CONNECTIONS
from finpay.settings import Settings

OLDEST: Final = 15  # the tests run on this version and on NEWEST
NEWEST: Final = 18
CLOCK_WARNING_S: Final = 1.0
CLOCK_LIMIT_S: Final = 5.0  # hosts that differ more disagree about when tokens expire
ROUND_TRIPS: Final = 5  # the fastest is taken as the delay of the network; the first also connects
SLOW_MS: Final = 5.0  # a transfer waits for more than one round trip
SINGLES: Final = 2  # per process: of the health monitor, and of the notifier with the request log

_SERVER: Final = """
SELECT current_setting('server_version_num')::integer / 10000 AS major,
       current_setting('server_version') AS version,
       NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' AS writable,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,
       current_setting('max_connections')::integer
         - current_setting('superuser_reserved_connections')::integer AS capacity,
       (SELECT pg_encoding_to_char(encoding) FROM pg_database
        WHERE datname = current_database()) AS encoding
"""
_DURABILITY: Final = """
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums')
ORDER BY name
"""


async def check(settings: Settings) -> AsyncIterator[CheckResult]:
    """All checks of PostgreSQL; only the first one if it can't be reached."""
    database = Database(settings.database_url, size=1)
    try:
        connected = await _connect(database, settings)
        yield connected
        if connected.state == "failed":
            return
        for result in await _server(database, settings):
            yield result
        yield await _durability(database, settings)
        yield await clock(database)
        yield await _migrations(database)
        for result in await postgres_rights.check(database, settings):
            yield result
    finally:
        await database.close()
    for result in await postgres_rights.check_logins(settings):
        yield result


async def _connect(database: Database, settings: Settings) -> CheckResult:
    host = urlsplit(settings.database_url).hostname or "the local server"
    try:
        round_trips_ms = [await _round_trip_ms(database) for _ in range(ROUND_TRIPS)]
    except AccessDenied as refused:
        return failed(
            "postgres",
            f"{host} refuses the login: {refused.reason}",
            "Check DATABASE_URL. `finpay migrate` creates the roles before the first start.",
        )
    except Unavailable as error:
        return failed(
            "postgres",
            f"{host} can't be reached: {cause_of(error)}",
            "Check DATABASE_URL, whether the server is running, and firewalls in between.",
        )
    took_ms = min(round_trips_ms)
    detail = f"connected to {host} as finpay_app, {took_ms:.1f} ms a round trip"
    if took_ms <= SLOW_MS:
        return ok("postgres", detail)
    return warning(
        "postgres", detail, "Run the API close to the database: each commit waits for it."
    )


async def _round_trip_ms(database: Database) -> float:
    began_s = time.perf_counter()
    await database.fetch_one("SELECT 1")
    return (time.perf_counter() - began_s) * 1000


async def _server(database: Database, settings: Settings) -> list[CheckResult]:
    row = await database.fetch_one(_SERVER)
    assert row is not None  # noqa: S101  it has no FROM
    return [
        _version(row),
        _writable(row),
        _encoding(row),
        _encryption(row, urlsplit(settings.database_url).hostname or ""),
        _capacity(row, settings),
    ]


def _version(row: Record) -> CheckResult:
    detail = f"PostgreSQL {row['version']}"
    if row["major"] < OLDEST:
        return failed(
            "postgres version", detail, f"Upgrade the server: FinPay needs {OLDEST} or newer."
        )
    if row["major"] > NEWEST:
        return warning("postgres version", detail, f"FinPay is tested up to PostgreSQL {NEWEST}.")
    return ok("postgres version", detail)


def _writable(row: Record) -> CheckResult:
    if row["writable"]:
        return ok("postgres primary", "it accepts writes")
    return failed(
        "postgres primary",
        "it is a standby or read-only",
        "Set DATABASE_URL to the primary.",
    )


def _encoding(row: Record) -> CheckResult:
    if row["encoding"] == "UTF8":
        return ok("postgres encoding", "UTF8")
    return failed(
        "postgres encoding",
        f"the database is encoded in {row['encoding']}, which can't store every text",
        "Create a new one: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
    )


def _encryption(row: Record, host: str) -> CheckResult:
    if row["encrypted"] or is_local_host(host):
        return ok("postgres tls", "encrypted" if row["encrypted"] else "local connection")
    return warning(
        "postgres tls",
        f"the connection to {host} is not encrypted",
        "Add ?sslmode=verify-full (or require) to the URL. Ignore this on a private network.",
    )


def _capacity(row: Record, settings: Settings) -> CheckResult:
    operators = 0 if settings.operator_url is None else OPERATOR_POOL_SIZE
    need = settings.workers * (READ_POOL_SIZE + CONNECTIONS + SINGLES + operators)
    detail = f"one instance opens up to {need} connections, the server allows {row['capacity']}"
    # During a rolling release the old instance and the new one run at the same time.
    if 2 * need <= row["capacity"]:
        return ok("postgres connections", detail)
    return warning(
        "postgres connections",
        detail,
        "Raise max_connections or lower FINPAY_WORKERS: two instances run during a release.",
    )


async def _durability(database: Database, settings: Settings) -> CheckResult:
    rows = {row["name"]: row["setting"] for row in await database.fetch(_DURABILITY)}
    checksums = rows.pop("data_checksums", "off")
    off = [name for name, value in sorted(rows.items()) if value == "off"]
    if off:
        return production_error(
            "postgres durability",
            f"{', '.join(off)} off",
            "Switch it on: a crash could lose acknowledged transfers.",
            production=settings.production,
        )
    if checksums == "off":
        return warning(
            "postgres durability",
            "data checksums are off",
            "Enable them (pg_checksums, or initdb -k): they detect a faulty disk.",
        )
    return ok("postgres durability", "commits are on disk before they are acknowledged")


async def clock(database: Database, host_time_s: Callable[[], float] = time.time) -> CheckResult:
    """The difference of the database's clock from this host's, ± half a round trip."""
    before_s = host_time_s()
    row = await database.fetch_one("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")
    after_s = host_time_s()
    assert row is not None  # noqa: S101  it has no FROM
    skew_s = row["now"] - (before_s + after_s) / 2
    detail = f"the database's clock is {skew_s:+.3f} s from this host's"
    if abs(skew_s) <= CLOCK_WARNING_S:
        return ok("clock", detail)
    advice = "Synchronise both with NTP: tokens and sessions expire by these clocks."
    return (failed if abs(skew_s) > CLOCK_LIMIT_S else warning)("clock", detail, advice)


async def _migrations(database: Database) -> CheckResult:
    absent = await migrate.missing(database)
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        return failed(
            "migrations",
            f"{absent[0]}{more} not applied",
            "Run `finpay migrate` of this release before you start it.",
        )
    rows = await database.fetch(f"SELECT version FROM {migrate.TABLE}")  # noqa: S608
    known = {name.partition("_")[0] for name in migrate.names()}
    newer = sorted(row["version"] for row in rows if row["version"] not in known)
    if newer:
        return warning(
            "migrations",
            f"the database is newer than this release: {newer[-1]} is applied",
            "Upgrade this host, unless a release is being rolled out or back.",
        )
    return ok("migrations", f"all {len(known)} are applied")
