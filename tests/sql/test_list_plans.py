"""The lists of holds, withdrawals, payment requests and schedules at a million rows each.

Without a filter, and with one that has an index, a page reads what it shows. A filter without an
index reads 10 000 rows at most, and the next page goes on there.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from finpay.db import queries
from finpay.db.pool import Database, Transaction
from finpay.dev.postgres import Cluster
from finpay.ledger import holds, withdrawals
from finpay.ledger.holds import Filters
from finpay.ledger.scanned_pages import LAST_ID
from tests.servers import clone_template, drop_database
from tests.sql.ledger_fixtures import Bank, Holder
from tests.sql.long_lists import OWN, RARE, fill
from tests.sql.plans import nodes, plan_of, rows_read

PAGE: Final = 21
MOST: Final = 10_000  # rows read for one page
BLOCKS: Final = 20  # of a table and its indexes: a descent, and what a new plan reads
END: Final = datetime(9999, 1, 1, tzinfo=UTC)
FEW: Final = OWN // RARE

_HOLDS: Final = queries.load("finpay.ledger", "holds.sql")
_WITHDRAWALS: Final = queries.load("finpay.ledger", "withdrawals.sql")
_REQUESTS: Final = queries.load("finpay.ledger", "payment_requests.sql")
_SCHEDULES: Final = queries.load("finpay.ledger", "schedules.sql")
_STATUSES: Final = "{open,paid,declined,canceled,expired}"


@dataclass(frozen=True, slots=True)
class Long:
    """Where `owner` has half of a million rows in each list, few of them with `rare`."""

    url: str
    owner: Holder
    rare: Holder


@pytest.fixture(scope="module")
def long(postgres_server: Cluster, worker_id: str) -> Iterator[Long]:
    name = f"long_{worker_id}"
    url = clone_template(postgres_server, name)
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(asyncio.run, _fill(url)).result()
    drop_database(postgres_server, name)


async def _fill(url: str) -> Long:
    bank = Bank(url)
    owner, usual, rare = [await bank.open() for _ in range(3)]
    await fill(bank, owner, usual, rare)
    await bank.close()
    return Long(url, owner, rare)


@pytest.fixture
async def database(long: Long) -> AsyncIterator[Database]:
    """With the settings that the app's connections have."""
    database = Database(long.url, size=1)
    yield database
    await database.close()


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Transaction]:
    async with database.transaction() as transaction:
        yield transaction


@pytest.mark.contract("1.3.4")
@pytest.mark.parametrize("filters", [
    (), ("sent",), (None, "voided"), (None, None, "rare"), (None, "open"),
    (None, None, None, "2026-01-01", "2026-01-02"),
])  # fmt: skip
async def test_holds(connection: Transaction, long: Long, filters: tuple[Any, ...]) -> None:
    values = [long.rare.account_id if value == "rare" else value for value in filters]
    values += [None] * (5 - len(values))
    plan = await plan_of(connection, _HOLDS.list_holds, long.owner.account_id, LAST_ID, *values,
                         PAGE)  # fmt: skip
    reads = rows_read(plan)
    assert set(reads) == {"holds_pkey"}
    assert reads["holds_pkey"] <= (MOST if any(filters[1:]) else 3 * PAGE)


@pytest.mark.contract("1.3.4")
@pytest.mark.parametrize("status", [None, "canceled", "rejected", "pending"])
async def test_withdrawals(connection: Transaction, long: Long, status: str | None) -> None:
    plan = await plan_of(connection, _WITHDRAWALS.list_withdrawals, long.owner.account_id, LAST_ID,
                         status, PAGE)  # fmt: skip
    reads = rows_read(plan)
    assert set(reads) == {"withdrawals_pkey"}
    assert reads["withdrawals_pkey"] <= (PAGE if status in {None, "canceled"} else MOST)


@pytest.mark.parametrize("query", ["get_scanned_hold", "get_scanned_withdrawal"])
async def test_how_far_a_page_was_read(connection: Transaction, long: Long, query: str) -> None:
    text = getattr(_HOLDS if "hold" in query else _WITHDRAWALS, query)
    plan = await plan_of(connection, text, long.owner.account_id, LAST_ID)
    assert sum(rows_read(plan).values()) <= MOST


@pytest.mark.parametrize(("directions", "ranges"), [("{t,f}", 2), ("{t}", 1), ("{f}", 1)])
@pytest.mark.parametrize("status", [None, "canceled", "declined", "open"])
async def test_payment_requests(
    connection: Transaction, long: Long, directions: str, ranges: int, status: str | None
) -> None:
    """One index range for each direction and status, which are merged."""
    statuses = _STATUSES if status is None else f"{{{status}}}"
    plan = await plan_of(
        connection, _REQUESTS.list_payment_requests, long.owner.account_id, END, LAST_ID,
        directions, statuses, PAGE, status is not None, long.owner.user_id,
    )  # fmt: skip
    reads = rows_read(plan)
    assert reads["payment_requests_list"] <= ranges * 2 * PAGE
    assert reads.get("payment_requests_unclaimed", 0) == 0
    assert sum(reads.values()) <= ranges * 2 * PAGE + 5 * PAGE


async def test_one_schedule(connection: Transaction, long: Long) -> None:
    ((row,),) = await connection.fetch(
        "SELECT id FROM ledger.schedules WHERE account_id = $1 LIMIT 1", long.owner.account_id
    )
    plan = await plan_of(connection, _SCHEDULES.get_schedule, long.owner.account_id, row)
    assert rows_read(plan) == {"schedules_pkey": 1}


async def test_schedules(connection: Transaction, long: Long) -> None:
    plan = await plan_of(connection, _SCHEDULES.list_schedules, long.owner.account_id, LAST_ID,
                         PAGE)  # fmt: skip
    assert rows_read(plan) == {"schedules_pkey": PAGE}


@pytest.mark.parametrize(("table", "asked"), [
    ("hold_expiries", "ledger.list_due_holds(1000, NULL)"),
    ("hold_expiries", "ledger.due_holds_of(ARRAY[{owner}], clock_timestamp(), 10000)"),
    ("hold_expiries",
     "ledger.dry_run('transfer', {owner}, 1, NULL, {rare}, NULL, NULL, NULL, NULL)"),
    ("schedules", "ledger.lease_schedules(250, 30)"),
    ("payment_requests", "ledger.expire_payment_requests(250, NULL)"),
])  # fmt: skip
async def test_what_is_not_due_is_not_read(
    connection: Transaction, long: Long, table: str, asked: str
) -> None:
    """What workers ask every second, and payments and dry runs of who is short of money."""
    owner, rare = (f"'{one.account_id}'::uuid" for one in (long.owner, long.rare))
    await connection.execute("SET LOCAL ROLE finpay_owner")
    await connection.execute(f"UPDATE ledger.accounts SET balance = 1, held = 1 WHERE id = {owner}")
    before = await _blocks(connection)
    await connection.execute(f"SELECT {asked.format(owner=owner, rare=rare)}")
    after = await _blocks(connection)
    read = {name: after[name] - before[name] for name in after if after[name] > before[name]}
    assert table in read
    assert max(read.values()) <= BLOCKS, read


@pytest.mark.parametrize(("query", "arguments", "index"), [
    (queries.load("finpay.webhooks").enqueue_due_retries, (10,), "deliveries_scheduled"),
    (queries.load("finpay.mail").lease_due_messages, (10, 60), "messages_due"),
])  # fmt: skip
async def test_the_index_of_what_waits_is_searched_for_the_time(
    connection: Transaction, query: str, arguments: tuple[int, ...], index: str
) -> None:
    """With clock_timestamp(), which may be different for each row, all of it would be read."""
    await connection.execute("SET LOCAL enable_seqscan = off")
    plan = await plan_of(connection, query, *arguments)
    (searched,) = [node for node in nodes(plan) if node.get("Index Name") == index]
    assert "Index Cond" in searched


async def _blocks(connection: Transaction) -> dict[str, int]:
    """Read of each table and its indexes by this transaction."""
    rows = await connection.fetch(
        "SELECT c.relname, pg_stat_get_xact_blocks_fetched(c.oid)"
        " + sum(pg_stat_get_xact_blocks_fetched(i.indexrelid))::bigint AS blocks "
        "FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid "
        "WHERE c.relnamespace = 'ledger'::regnamespace GROUP BY c.oid"
    )
    return {row["relname"]: row["blocks"] for row in rows}


@pytest.mark.contract("1.3.4")
async def test_pages_of_a_rare_filter_have_each_row_once(database: Database, long: Long) -> None:
    """Empty pages go on where they stopped; together they read all."""
    found: list[Any] = []
    before, pages = None, 0
    while True:
        page = await holds.page(
            database,
            long.owner.account_id,
            before=before,
            filters=Filters(status="voided"),
            limit=3,
        )
        found += page.rows[:2]
        pages += 1
        before = page.rows[1].id if len(page.rows) == 3 else page.scanned_to
        if before is None:
            break
    assert len(found) == len({row.id for row in found}) == FEW
    assert pages >= OWN // MOST
    by_rare = await withdrawals.page(
        database, long.owner.account_id, before=None, status="rejected", limit=3
    )
    assert (list(by_rare.rows), by_rare.scanned_to is not None) == ([], True)
    usual = await withdrawals.page(
        database, long.owner.account_id, before=None, status="canceled", limit=3
    )
    assert (len(usual.rows), usual.scanned_to) == (3, None)
