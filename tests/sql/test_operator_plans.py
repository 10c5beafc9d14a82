"""The lists of operators read a page, however many users, transactions and audit rows there are."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from finpay.db import queries
from finpay.db.pool import Database
from finpay.dev.postgres import Cluster
from finpay.operators import audit, reconciliation, transactions, users
from tests.servers import clone_template, drop_database, in_thread

ROWS: Final = 200_000
RARE: Final = 30
PAGE: Final = 21
MAX_BLOCKS: Final = 40 * PAGE  # 8 kB each; all of a table is thousands
MAX_SCANNED_BLOCKS: Final = 1_500  # of 10 000 rows
LAST: Final = UUID(int=2**128 - 1)
END: Final = 2**63 - 1

_SQL: Final = queries.load("finpay.operators")
_COMMANDS: Final = queries.load("finpay.ledger", "operator_commands.sql")
# Ids rise with the row; the last rows of each table are of now, ten rows of a second.
_FILL: Final = f"""
CREATE FUNCTION pg_temp.id(n bigint) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - ({ROWS} - n) * 100), 12, '0')
            || '7000' || lpad(to_hex(n), 16, '0'))::uuid $$;
CREATE FUNCTION pg_temp.at(n bigint) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT now() - ({ROWS} - n) * interval '0.1 second' $$;
INSERT INTO identity.users (id, email, password_hash, created_at)
SELECT pg_temp.id(n), n || '@example.com', 'none', pg_temp.at(n) FROM generate_series(1, {ROWS}) n;
INSERT INTO ledger.accounts (id, user_id, currency, status)
SELECT pg_temp.id(n), pg_temp.id(n), 'ZAR',
       (CASE WHEN n <= {RARE} THEN 'frozen' ELSE 'active' END)::ledger.account_status
FROM generate_series(1, {ROWS}) n;
INSERT INTO ledger.accounts (id, currency, version) VALUES (pg_temp.id(0), 'ZAR', {ROWS});
INSERT INTO ledger.transactions (id, sender_id, receiver_id, amount, created_at, sender_version,
                                 receiver_version, type, status, currency, metadata)
SELECT pg_temp.id(n), pg_temp.id(0), pg_temp.id(n), 1, pg_temp.at(n), n, 1,
       (CASE WHEN n <= {RARE} THEN 'deposit' ELSE 'transfer' END)::ledger.transaction_type,
       'completed', 'ZAR', '{{}}' FROM generate_series(1, {ROWS}) n;
INSERT INTO ledger.entries (account_id, transaction_id, version, sequence, amount, balance_after,
                            created_at)
SELECT pg_temp.id(0), pg_temp.id(n), n, n, -1, -n, pg_temp.at(n)
FROM generate_series(1, {ROWS}) n;
INSERT INTO ledger.withdrawals (account_id, id, amount, opened_sequence, created_at, status,
                                currency, destination)
SELECT pg_temp.id(n), pg_temp.id(n), 1, 1, pg_temp.at(n),
       (CASE WHEN n <= {RARE} THEN 'pending' ELSE 'completed' END)::ledger.withdrawal_status,
       'ZAR', '{{}}' FROM generate_series(1, {ROWS}) n;
INSERT INTO ledger.approvals (id, requested_by, account_id, amount, created_at, expires_at, action,
                              status, currency)
SELECT pg_temp.id(n), pg_temp.id(1), pg_temp.id(n), 1, pg_temp.at(n), now() + interval '1 day',
       'deposit', CASE WHEN n <= {RARE} THEN 'pending' ELSE 'approved' END, 'ZAR'
FROM generate_series(1, {ROWS}) n;
INSERT INTO audit.log (created_at, actor_id, subject_id, action)
SELECT pg_temp.at(n), pg_temp.id(1), pg_temp.id(n),
       CASE WHEN n <= {RARE} THEN 'user.registered' ELSE 'session.created' END
FROM generate_series(1, {ROWS}) n;
ANALYZE
"""


@pytest.fixture(scope="module")
def filled(postgres_server: Cluster, worker_id: str) -> Iterator[str]:
    name = f"operators_{worker_id}"
    url = clone_template(postgres_server, name)
    in_thread(lambda: asyncio.run(_fill(url)))
    yield url
    drop_database(postgres_server, name)


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(_FILL)
    await connection.close()


@pytest.fixture
async def database(filled: str) -> AsyncIterator[Database]:
    """With the settings that the app's connections have."""
    made = Database(filled, size=1)
    yield made
    await made.close()


async def blocks(database: Database, query: str, *arguments: Any) -> tuple[int, int]:
    """How many rows it gives, and how many blocks it touches."""
    row = await database.fetch_one(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
    assert row is not None
    plan = json.loads(row[0])[0]["Plan"]
    return plan["Actual Rows"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


async def test_each_list_reads_a_page(database: Database) -> None:
    no_filters = [None] * 7
    for query, arguments, expected in (
        (_SQL.list_users, (LAST, None, None, PAGE), PAGE),
        (_SQL.list_users, (LAST, None, "active", PAGE), PAGE),
        (_SQL.list_users, (LAST, "77@example.com", None, PAGE), 1),
        (_SQL.list_users_not_active, (LAST, None, "frozen", PAGE), PAGE),
        (_SQL.list_transactions, (LAST, UUID(int=0), *no_filters, PAGE), PAGE),
        (_SQL.list_approvals, (LAST, None, PAGE), PAGE),
        (_SQL.list_approvals, (LAST, "pending", PAGE), PAGE),
        (_COMMANDS.list_withdrawals_of_all, (LAST, None, PAGE), PAGE),
        (_COMMANDS.list_withdrawals_of_all, (LAST, "pending", PAGE), PAGE),
    ):
        found, touched = await blocks(database, query, *arguments)
        assert found == expected, (query, arguments)
        assert touched <= MAX_BLOCKS, (query, arguments)


async def test_a_filter_without_an_index_reads_a_bounded_number_of_rows(
    database: Database,
) -> None:
    rare = ("deposit", *[None] * 6, PAGE)
    found, touched = await blocks(database, _SQL.list_transactions, LAST, UUID(int=0), *rare)
    assert found == 0
    assert touched <= MAX_SCANNED_BLOCKS


async def test_a_rare_transaction_is_found_over_short_pages(database: Database) -> None:
    filters, before, found, read = transactions.Filters(type="deposit"), None, 0, 0
    while True:
        page = await transactions.page(database, before=before, filters=filters, limit=PAGE)
        found, read = found + len(page.rows), read + 1
        before = page.scanned_to
        if before is None and len(page.rows) == PAGE:
            before = page.rows[-1].id
        elif before is None:
            break
    assert (found, read) == (RARE, ROWS // 10_000 + 1)


async def test_a_time_is_a_range_of_ids(database: Database) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=ROWS / 20)
    for filters in (
        transactions.Filters(created_from=moment, created_to=moment + timedelta(seconds=1)),
        transactions.Filters(created_from=moment + timedelta(seconds=-1), created_to=moment),
    ):
        page = await transactions.page(database, before=None, filters=filters, limit=PAGE)
        assert (len(page.rows), page.scanned_to) == (10, None)


async def test_the_audit_log_is_found_by_its_time(database: Database) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=ROWS / 20)
    filters = audit.Filters(moment, moment + timedelta(seconds=1))
    page = await audit.page(database, before=None, filters=filters, limit=PAGE)
    assert (len(page.rows), page.scanned_to) == (10, None)
    _, touched = await blocks(
        database, _SQL.get_audit_bounds, filters.created_from, filters.created_to
    )
    assert touched <= MAX_BLOCKS
    everything = audit.Filters(moment - timedelta(days=1), moment + timedelta(days=1))
    bounds = (END, 1, END, everything.created_from, everything.created_to)
    found, touched = await blocks(
        database, _SQL.list_audit_rows, *bounds, None, None, None, None, PAGE
    )
    assert (found, touched <= MAX_BLOCKS) == (PAGE, True)


async def test_rare_audit_rows_are_found_over_short_pages(database: Database) -> None:
    now = datetime.now(UTC)
    filters = audit.Filters(now - timedelta(days=1), now, action="user.registered")
    before, found, read = None, 0, 0
    while True:
        page = await audit.page(database, before=before, filters=filters, limit=PAGE)
        found, read = found + len(page.rows), read + 1
        before = page.scanned_to
        if before is None and len(page.rows) == PAGE:
            before = page.rows[-1].id
        elif before is None:
            break
    assert found == RARE
    assert read <= ROWS // 10_000 + 2


async def test_the_bounds_of_an_empty_or_a_later_range(database: Database) -> None:
    for days in (-400, 400):
        moment = datetime.now(UTC) + timedelta(days=days)
        filters = audit.Filters(moment, moment + timedelta(days=1))
        assert not (await audit.page(database, before=None, filters=filters, limit=PAGE)).rows


async def test_one_of_each_is_found_by_key(database: Database) -> None:
    rows = await users.page(database, before=None, email=None, status=None, limit=1)
    user_id = rows[0].id
    for query in (_SQL.get_user, _SQL.get_account, _SQL.get_transaction, _SQL.get_withdrawal,
                  _SQL.get_approval):  # fmt: skip
        found, touched = await blocks(database, query, user_id)
        assert (found, touched <= MAX_BLOCKS) == (1, True), query


async def test_reconciliation_reads_pages_of_one_day(database: Database) -> None:
    (system,) = await database.fetch(
        _SQL.list_system_ranges, datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC)
    )
    assert (system["version_from"], system["version_to"]) == (0, ROWS)
    found, touched = await blocks(
        database, _SQL.list_outside_payments, system["id"], ROWS // 2, ROWS, reconciliation.PAGE
    )
    assert found == reconciliation.PAGE
    assert touched <= 20 * reconciliation.PAGE
