"""Roles and migrations: by which logins, how often, by how many at once."""

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from finpay.db import migrate
from finpay.dev.child_process import free_port
from finpay.dev.data_dir import remove_data_dir
from finpay.dev.postgres import Cluster
from tests.servers import Run

_SECRET: Final = "not-for-the-log"
_LIMITS: Final = ("SET LOCAL lock_timeout = '2s';", "SET LOCAL statement_timeout = '60s';")
_BOUNDS: Final = (
    r"SET LOCAL lock_timeout = '[1-9]\d?s';",
    r"SET LOCAL statement_timeout = '[1-9]\d{0,2}s';",
)
_INDEX: Final = """\
-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY entries_by_time ON ledger.entries (created_at);

-- migrate:down transaction:false
"""
_SEEN: Final = """\
-- migrate:up
CREATE TABLE ledger.seen AS
    SELECT current_setting('lock_timeout') || ' ' || current_setting('statement_timeout') AS seen;

-- migrate:down
"""


@pytest.fixture(scope="module")
def bare(run: Run, worker_id: str) -> Iterator[Cluster]:
    """A cluster that FinPay has never seen."""
    name = f"bare-{worker_id}-{os.getpid()}"
    server = run.start_postgres(name)
    yield server
    server.stop()
    remove_data_dir(Path(run.folder, name))


@pytest.fixture
def owner_url(bare: Cluster) -> Iterator[str]:
    """A login as a hosting provider gives it: no superuser, CREATEROLE, its own database."""
    bare.sql("CREATE ROLE dba LOGIN CREATEROLE")
    bare.sql("CREATE DATABASE theirs OWNER dba")
    yield bare.url("theirs", "dba")
    bare.sql("DROP DATABASE theirs WITH (FORCE)")
    bare.sql("DROP ROLE IF EXISTS finpay_owner, finpay_app")
    bare.sql("DROP ROLE dba")


async def test_a_login_with_createrole_that_owns_its_database_is_enough(owner_url: str) -> None:
    assert await _missing(owner_url) == migrate.names()

    await migrate.prepare(owner_url)
    assert await migrate.apply(owner_url) == migrate.names()

    assert await _missing(owner_url) == []
    assert await _missing(owner_url, role="finpay_app") == []
    assert await _value(owner_url, "SELECT count(*) FROM ledger.accounts", "finpay_owner") == 0


async def test_a_second_time_changes_nothing(owner_url: str) -> None:
    await migrate.prepare(owner_url)
    await migrate.apply(owner_url)
    await migrate.prepare(owner_url)
    assert await migrate.apply(owner_url) == []


@pytest.mark.contract("2.3.1")
async def test_all_objects_belong_to_finpay_owner(owner_url: str) -> None:
    await migrate.prepare(owner_url)
    await migrate.apply(owner_url)
    others = """
        SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('finpay', 'identity', 'ledger', 'audit', 'outbox')
          AND c.relowner <> 'finpay_owner'::regrole
    """
    assert await _value(owner_url, others) == 0
    superusers = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'finpay_%' AND rolsuper"
    assert await _value(owner_url, superusers) == 0


async def test_many_at_once_apply_each_migration_once(bare: Cluster, owner_url: str) -> None:
    """As two releases that start together do, on two databases that share the roles."""
    bare.sql("CREATE DATABASE neighbour OWNER dba")
    urls = [owner_url, bare.url("neighbour", "dba")] * 3
    try:
        await asyncio.gather(*(migrate.prepare(url) for url in urls))
        done = await asyncio.gather(*(migrate.apply(url) for url in urls))
    finally:
        bare.sql("DROP DATABASE neighbour WITH (FORCE)")
    assert sorted(name for names in done for name in names) == sorted(migrate.names() * 2)


async def test_a_failed_migration_is_named(
    owner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate.prepare(owner_url)
    broken = "-- migrate:up\nSELECT 1 / 0;\n-- migrate:down\n"
    (tmp_path / "29990101000001_broken.sql").write_text(broken, "utf-8")
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path)
    with pytest.raises(migrate.MigrationError, match=r"^29990101000001_broken\.sql: .*zero"):
        await migrate.apply(owner_url)


async def test_a_database_in_another_encoding_is_refused(bare: Cluster) -> None:
    bare.sql("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(migrate.MigrationError, match="is SQL_ASCII; create it in UTF8: CREATE"):
        await migrate.prepare(bare.url("ascii"))
    bare.sql("DROP DATABASE ascii")


async def test_a_login_that_may_not_create_roles_is_refused(bare: Cluster) -> None:
    bare.sql("CREATE ROLE weak LOGIN")
    with pytest.raises(migrate.MigrationError, match="needs a superuser, or a login with CREATE"):
        await migrate.prepare(bare.url("postgres", "weak"))
    bare.sql("DROP ROLE weak")


async def test_the_error_of_an_unreachable_server_has_no_password() -> None:
    url = f"postgresql://somebody:{_SECRET}@127.0.0.1:{free_port()}/finpay"
    with pytest.raises(migrate.MigrationError, match=r"can't connect .* 127\.0\.0\.1") as refused:
        await migrate.prepare(url)
    with pytest.raises(migrate.MigrationError, match="can't connect") as failed:
        await migrate.apply(url)
    assert _SECRET not in f"{refused.value} {failed.value}"


async def test_applying_without_roles_is_refused(bare: Cluster) -> None:
    bare.sql("CREATE DATABASE roleless")
    with pytest.raises(migrate.MigrationError, match=r"schema_migrations: .*finpay_owner"):
        await migrate.apply(bare.url("roleless"))
    bare.sql("DROP DATABASE roleless WITH (FORCE)")


@pytest.mark.parametrize(
    ("ours", "dbmates"),
    [
        ("postgresql://u:p@h:1/d", "postgresql://u:p@h:1/d?sslmode=prefer"),
        ("postgresql://u@h/d?sslmode=verify-full", "postgresql://u@h/d?sslmode=verify-full"),
        (
            "postgresql://u@%2Frun%2Fpg:5433/d",
            "postgresql://u@/d?sslmode=prefer&host=%2Frun%2Fpg&port=5433",
        ),
        ("postgresql:///d?host=/run/pg", "postgresql:///d?host=%2Frun%2Fpg&sslmode=prefer"),
    ],
)
def test_a_url_means_the_same_to_dbmate(ours: str, dbmates: str) -> None:
    assert migrate.dbmate_url(ours) == dbmates


@pytest.mark.parametrize("name", migrate.names())
def test_every_migration_bounds_what_it_waits_for(name: str) -> None:
    """So that one that meets a lock gives up, instead of blocking all sessions behind it."""
    text = (migrate.MIGRATIONS / name).read_text("utf-8")
    assert bounded(text), "see CONTRIBUTING.md, Migrations"


@pytest.mark.parametrize(
    "text",
    [
        "-- migrate:up\nCREATE TABLE t ();",
        "-- migrate:up\nSET LOCAL lock_timeout = '2s';\nCREATE TABLE t ();",
        "-- migrate:up\nSET LOCAL lock_timeout = '0s';\nSET LOCAL statement_timeout = '60s';",
        "-- migrate:up\nLOCK t;\n\n" + "\n".join(_LIMITS),
        "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON t (a);\nLOCK t;",
        "-- migrate:up transaction:false\nCREATE INDEX i ON t (a);",
    ],
)
def test_a_migration_without_bounds_is_noticed(text: str) -> None:
    assert not bounded(text)
    assert bounded(_INDEX)
    assert bounded("\n".join(["-- migrate:up", *_LIMITS, "LOCK t;"]))


async def test_an_index_is_built_without_stopping_writes_and_within_limits(
    owner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of its own without a transaction; the limits, and the owner, come from outside."""
    await migrate.prepare(owner_url)
    await migrate.apply(owner_url)
    later = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, later)
    (later / "29990101000001_index.sql").write_text(_INDEX, "utf-8")
    (later / "29990101000002_seen.sql").write_text(_SEEN, "utf-8")
    monkeypatch.setattr(migrate, "MIGRATIONS", later)
    assert len(await migrate.apply(owner_url)) == 2
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ledger.entries_by_time'::regclass"
    assert await _value(owner_url, valid) is True
    assert await _value(owner_url, "SELECT seen FROM ledger.seen", "finpay_owner") == "1min 9min"


def bounded(text: str) -> bool:
    """Whether limits stand before the first statement, or the file is one statement."""
    if text.startswith("-- migrate:up transaction:false\n"):
        up = re.sub(r"(?m)^--.*", "", text.partition("-- migrate:down")[0])
        return up.count(";") == 1 and " CONCURRENTLY " in up
    head = list(takewhile(lambda line: line.startswith("SET LOCAL "), text.splitlines()[1:]))
    return all(any(re.fullmatch(bound, line) for line in head) for bound in _BOUNDS)


async def _missing(url: str, role: str | None = None) -> list[str]:
    connection = await asyncpg.connect(url, server_settings={"role": role} if role else None)
    try:
        return await migrate.missing(connection)
    finally:
        await connection.close()


async def _value(url: str, query: str, role: str | None = None) -> object:
    connection = await asyncpg.connect(url, server_settings={"role": role} if role else None)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
