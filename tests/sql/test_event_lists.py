"""Lists of some types of events read 10 000 events for a page at most, and go on there."""

from collections.abc import Callable
from typing import Any, Final

import asyncpg
import pytest

from finpay.db import queries
from finpay.db.pool import Database
from finpay.outbox import events
from finpay.outbox.event_types import FREQUENT_TYPES
from finpay.outbox.events import EventPage, Filters
from tests.sql.ledger_fixtures import Bank, Holder
from tests.sql.plans import nodes, plan_of, rows_read

MOST: Final = 10_000  # events read for one page
EVENTS: Final = 25_000
RARE_EVERY: Final = 8_000
OTHERS: Final = 3  # accounts with as many
PAGE: Final = 3
END: Final = 2**63 - 1
USUAL_AND_RARE: Final = {
    "frequent": ("hold.captured", "transaction.failed", ["transaction.completed"], True),
    "both": ("hold.captured", "schedule.failed", ["hold.voided", "schedule.failed"], True),
    "uncommon": ("payment_request.created", "schedule.failed", ["schedule.failed"], False),
}

_SQL: Final = queries.load("finpay.outbox")
_FILL: Final = """
INSERT INTO outbox.events (account_id, sequence, created_at, type, data)
SELECT $1, n, now(), CASE WHEN n % $3 = 1 THEN $5 ELSE $4 END, '{}'
FROM generate_series(1, $2) n
"""


@pytest.fixture
def database_url(fresh_database: Callable[[], str]) -> str:
    """Of each test alone: events without holds stay in it."""
    return fresh_database()


async def fill(bank: Bank, usual: str, rare: str) -> Holder:
    holder = await bank.open()
    superuser = await asyncpg.connect(bank.url)
    for owner in [await bank.open() for _ in range(OTHERS)] + [holder]:
        await superuser.execute("DELETE FROM outbox.events WHERE account_id = $1", owner.account_id)
        await superuser.execute(_FILL, owner.account_id, EVENTS, RARE_EVERY, usual, rare)
    await superuser.execute("ANALYZE outbox.events")
    await superuser.close()
    return holder


@pytest.mark.contract("1.3.4")
@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("kind", ["both", "uncommon"])
async def test_pages_of_a_rare_type_have_each_event_once(
    bank: Bank, kind: str, *, newest_first: bool
) -> None:
    usual, rare, types, _ = USUAL_AND_RARE[kind]
    holder = await fill(bank, usual, rare)
    expected = [n for n in range(1, EVENTS + 1) if n % RARE_EVERY == 1]
    found, pages, reached = [], 0, END if newest_first else 0
    while True:
        page = await _page(bank, holder, types, reached, newest_first=newest_first)
        found += [event.sequence for event in page.events[: PAGE - 1]]
        pages += 1
        if len(page.events) == PAGE:
            reached = found[-1]
        elif page.scanned_to is not None:
            reached = page.scanned_to
        else:
            break
    assert found == (expected[::-1] if newest_first else expected)
    assert pages > EVENTS // MOST


async def test_a_page_of_a_frequent_type_that_never_occurred_is_empty_and_goes_on(
    bank: Bank,
) -> None:
    usual, rare, types, _ = USUAL_AND_RARE["frequent"]
    holder = await fill(bank, usual, rare)
    newest = await _page(bank, holder, types, END, newest_first=True)
    oldest = await _page(bank, holder, types, 0, newest_first=False)
    last = await _page(bank, holder, types, EVENTS - MOST, newest_first=False)
    assert newest == EventPage([], EVENTS - MOST + 1)
    assert oldest == EventPage([], MOST)
    assert last == EventPage([], EVENTS)
    assert await _page(bank, holder, types, EVENTS, newest_first=False) == EventPage([])


@pytest.mark.contract("1.3.4")
@pytest.mark.parametrize("kind", USUAL_AND_RARE)
@pytest.mark.parametrize("side", ["before", "after"])
async def test_no_more_is_read_for_a_page(bank: Bank, kind: str, side: str) -> None:
    usual, rare, types, is_frequent = USUAL_AND_RARE[kind]
    holder = await fill(bank, usual, rare)
    bounds = (EVENTS - MOST, END) if side == "before" else (0, MOST + 1)
    scan = await _plan(bank, f"get_scanned_{side}", holder.account_id, 0, END, is_frequent)
    page = await _plan(
        bank, f"list_events_{side}", holder.account_id, *bounds, "{" + ",".join(types) + "}",
        is_frequent, None, None, PAGE,
    )  # fmt: skip
    index = "events_pkey" if is_frequent else "events_uncommon_type"
    assert rows_read(scan) == {index: MOST}
    (read,) = [node for node in nodes(page) if node.get("Relation Name") == "events"]
    assert read["Node Type"] != "Seq Scan"
    assert read["Actual Rows"] + read.get("Rows Removed by Filter", 0) <= MOST


async def _plan(bank: Bank, query: str, *args: object) -> dict[str, Any]:
    """By a connection of its own, with the settings that the app's connections have."""
    database = Database(bank.url, size=1)
    async with database.transaction() as connection:
        plan = await plan_of(connection, getattr(_SQL, query), *args)
    await database.close()
    return plan


async def _page(
    bank: Bank, holder: Holder, types: list[str], reached: int, *, newest_first: bool
) -> EventPage:
    filters, account = Filters(types), holder.account_id
    if newest_first:
        return await events.list_before(bank.app, account, filters, before=reached, limit=PAGE)
    return await events.list_after(bank.app, account, filters, after=reached, limit=PAGE)


@pytest.mark.contract("1.3.4")
async def test_an_index_of_the_other_types_has_no_frequent_one(bank: Bank) -> None:
    row: Any = await bank.row(
        "SELECT pg_get_expr(i.indpred, i.indrelid) AS predicate FROM pg_index i "
        "WHERE i.indexrelid = 'outbox.events_uncommon_type'::regclass"
    )
    types = FREQUENT_TYPES
    assert row["predicate"].count("'::") == len(types)
    assert all(f"'{each}'" in row["predicate"] for each in types)
