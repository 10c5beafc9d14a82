"""PostgreSQL: can we be let in, may it hold money, and what may the app's role do?"""

import time
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import urlsplit

from finpay.app.api import READ_POOL_SIZE
from finpay.db import migrate
from finpay.db.pool import AccessDenied, Database, Record, Unavailable
from finpay.doctor.checks import CheckResult, failed, is_own_host, ok, production_error, warning
from finpay.ledger.batcher import CONNECTIONS
from finpay.settings import Settings

OLDEST: Final = 15  # tests run on it and on NEWEST
NEWEST: Final = 18
CLOCK_WARNING_S: Final = 1.0
CLOCK_LIMIT_S: Final = 5.0  # a token made on one host would be refused as not yet valid on another
SLOW_MS: Final = 5.0  # per round trip: a transfer waits for it more than once
WATCHERS: Final = 1  # the probe's own connection, per process

# Which tables of the money finpay_app may write directly. There must be none: functions write.
_WRITABLE: Final = """
SELECT n.nspname || '.' || c.relname AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('ledger', 'audit', 'outbox') AND c.relkind IN ('r', 'p')
  AND (has_table_privilege('finpay_app', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
       OR has_any_column_privilege('finpay_app', c.oid, 'INSERT, UPDATE'))
ORDER BY name
"""
# Functions that everybody may call, and those that create or stop money but the app may call.
_CALLABLE: Final = """
SELECT p.oid::regprocedure::text AS name
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('identity', 'ledger', 'audit', 'outbox', 'webhooks')
  AND (EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
               WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
       OR (n.nspname = 'ledger' AND p.proname IN ('fund', 'set_status')
           AND has_function_privilege('finpay_app', p.oid, 'EXECUTE')))
ORDER BY name
"""
_ROLES: Final = """
SELECT session_user AS login, l.rolsuper AS superuser,
       pg_has_role('finpay_app', 'finpay_owner', 'MEMBER') AS app_is_owner,
       pg_has_role(session_user, 'finpay_owner', 'MEMBER') AS may_own
FROM pg_roles l WHERE l.rolname = session_user
"""
_SERVER: Final = """
SELECT current_setting('server_version_num')::integer / 10000 AS major,
       current_setting('server_version') AS version,
       NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' AS writable,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,
       current_setting('max_connections')::integer
         - current_setting('superuser_reserved_connections')::integer AS room
"""
_DURABILITY: Final = """
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums')
ORDER BY name
"""


async def check(settings: Settings) -> AsyncIterator[CheckResult]:
    """One finding per question. The first that fails may be the last: no server, no answers."""
    database = Database(settings.database_url, size=1)
    try:
        reached = await _reach(database, settings)
        yield reached
        if reached.state == "failed":
            return
        for finding in await _server(database, settings):
            yield finding
        yield await _durability(database, settings)
        yield await clock(database)
        yield await _migrations(database)
        yield await _rights(database)
        yield await _login(database, settings)
    finally:
        await database.close()
    yield await _owner(settings)


async def _reach(database: Database, settings: Settings) -> CheckResult:
    place = urlsplit(settings.database_url).hostname or "the local server"
    try:
        await database.fetch_one("SELECT 1")
        began_s = time.perf_counter()
        await database.fetch_one("SELECT 1")
    except AccessDenied as refused:
        return failed(
            "postgres",
            f"{place} does not let us in: {refused.reason}",
            "Check DATABASE_URL. Before the first start, run `finpay migrate`: it makes the roles.",
        )
    except Unavailable as error:
        return failed(
            "postgres",
            f"{place} does not answer: {error.__cause__ or error.detail}",
            "Check DATABASE_URL, that the server runs, and that a firewall lets this host through.",
        )
    took_ms = (time.perf_counter() - began_s) * 1000
    detail = f"{place} answers as finpay_app, {took_ms:.1f} ms a round trip"
    if took_ms <= SLOW_MS:
        return ok("postgres", detail)
    return warning("postgres", detail, "Run the API beside its database: each commit waits for it.")


async def _server(database: Database, settings: Settings) -> list[CheckResult]:
    row = await database.fetch_one(_SERVER)
    assert row is not None  # noqa: S101  it has no FROM
    return [
        _version(row),
        _writable(row),
        _encryption(row, urlsplit(settings.database_url).hostname or ""),
        _room(row, settings),
    ]


def _version(row: Record) -> CheckResult:
    detail = f"PostgreSQL {row['version']}"
    if row["major"] < OLDEST:
        return failed(
            "postgres version", detail, f"FinPay needs {OLDEST} or newer: upgrade the server."
        )
    if row["major"] > NEWEST:
        return warning("postgres version", detail, f"Tested up to {NEWEST}.")
    return ok("postgres version", detail)


def _writable(row: Record) -> CheckResult:
    if row["writable"]:
        return ok("postgres primary", "it takes writes")
    return failed(
        "postgres primary",
        "it is a standby or read-only",
        "DATABASE_URL has to lead to the primary.",
    )


def _encryption(row: Record, host: str) -> CheckResult:
    if row["encrypted"] or is_own_host(host):
        return ok("postgres tls", "encrypted" if row["encrypted"] else "this machine")
    return warning(
        "postgres tls",
        f"the connection to {host} is not encrypted",
        "Add ?sslmode=require (or verify-full) to the URL; fine as it is on a private network.",
    )


def _room(row: Record, settings: Settings) -> CheckResult:
    need = settings.workers * (READ_POOL_SIZE + CONNECTIONS + WATCHERS)
    detail = f"one instance may open {need} connections, the server allows {row['room']}"
    # A rolling deployment runs the old instance beside the new one.
    if 2 * need <= row["room"]:
        return ok("postgres connections", detail)
    return warning(
        "postgres connections",
        detail,
        "Raise max_connections or lower FINPAY_WORKERS: while a release rolls out, two run.",
    )


async def _durability(database: Database, settings: Settings) -> CheckResult:
    rows = {row["name"]: row["setting"] for row in await database.fetch(_DURABILITY)}
    checksums = rows.pop("data_checksums", "off")
    off = [name for name, value in sorted(rows.items()) if value == "off"]
    if off:
        return production_error(
            "postgres durability",
            f"{', '.join(off)} off",
            "An acknowledged transfer could vanish in a crash: switch it on.",
            production=settings.production,
        )
    if checksums == "off":
        return warning(
            "postgres durability",
            "data checksums are off",
            "Enable them (pg_checksums, or initdb -k): a broken disk is then noticed.",
        )
    return ok("postgres durability", "a commit is on disk before it is acknowledged")


async def clock(database: Database, host_time_s: Callable[[], float] = time.time) -> CheckResult:
    """How far the database's clock is from this host's, give or take half a round trip."""
    before_s = host_time_s()
    row = await database.fetch_one("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")
    after_s = host_time_s()
    assert row is not None  # noqa: S101  it has no FROM
    skew_s = row["now"] - (before_s + after_s) / 2
    detail = f"the database's clock is {skew_s:+.3f} s from this host's"
    if abs(skew_s) <= CLOCK_WARNING_S:
        return ok("clock", detail)
    advice = "Let both follow the same time servers (NTP): tokens and sessions depend on it."
    return (failed if abs(skew_s) > CLOCK_LIMIT_S else warning)("clock", detail, advice)


async def _migrations(database: Database) -> CheckResult:
    absent = await migrate.missing(database)
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        return failed(
            "migrations",
            f"{absent[0]}{more} not applied",
            "Run `finpay migrate` with this release before it serves.",
        )
    rows = await database.fetch(f"SELECT version FROM {migrate.TABLE}")  # noqa: S608
    known = {name.partition("_")[0] for name in migrate.names()}
    newer = sorted(row["version"] for row in rows if row["version"] not in known)
    if newer:
        return warning(
            "migrations",
            f"the database is ahead: {newer[-1]} is not in this release",
            "Fine while a release rolls out or back, by the rules of CONTRIBUTING.",
        )
    return ok("migrations", f"all {len(known)} applied")


async def _rights(database: Database) -> CheckResult:
    tables = [row["name"] for row in await database.fetch(_WRITABLE)]
    functions = [row["name"] for row in await database.fetch(_CALLABLE)]
    if not tables and not functions:
        return ok("rights", "finpay_app moves money only through the ledger's functions")
    return failed(
        "rights",
        f"more is allowed than it should be: {', '.join(tables + functions)}",
        "REVOKE it: stolen credentials of the app could write the books.",
    )


async def _login(database: Database, settings: Settings) -> CheckResult:
    row = await database.fetch_one(_ROLES)
    assert row is not None  # noqa: S101  we are logged in
    name = f"{row['login']}"
    if row["app_is_owner"]:
        return failed(
            "login",
            "finpay_app is a member of finpay_owner",
            "REVOKE finpay_owner FROM finpay_app: the app could change its own rights.",
        )
    if row["superuser"] or row["may_own"]:
        what = "is a superuser" if row["superuser"] else "may become finpay_owner"
        return production_error(
            "login",
            f"the app's login {name} {what}",
            "Give the app a login that is a member of finpay_app and of nothing else.",
            production=settings.production and bool(settings.owner_url_setting),
        )
    return ok("login", f"{name} may be finpay_app and nothing more")


async def _owner(settings: Settings) -> CheckResult:
    """The other URL, which nothing uses until a migration is due or an operator is in a hurry."""
    database = Database(settings.owner_url, size=1, role="finpay_owner")
    try:
        await database.fetch_one("SELECT 1")
    except Unavailable as error:
        reason = (
            error.reason if isinstance(error, AccessDenied) else error.__cause__ or error.detail
        )
        return failed(
            "owner",
            f"the owner's URL does not work: {reason}",
            "Migrations and operator commands need a login that may SET ROLE finpay_owner.",
        )
    finally:
        await database.close()
    return ok("owner", "migrations and operator commands can run")
