"""The owner's lists of deliveries read a page, however many deliveries an endpoint has had."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from finpay.db import queries
from finpay.db.pool import Database

DELIVERED: Final = 50_000
OTHERS: Final = 20_000  # that wait for another endpoint
RARE: Final = 5  # of each other state
PAGE: Final = 21
MAX_BLOCKS: Final = 150  # 8 kB each; all of it is a thousand and more

_SQL: Final = queries.load("finpay.webhooks", "deliveries.sql")
_FILL: Final = """
INSERT INTO webhooks.deliveries (id, endpoint_id, account_id, sequence, created_at, due_at,
                                 finished_at, worker_id, status, event_type)
SELECT webhooks.new_id(), $1, $2, $5 + n, now(), now(),
       CASE WHEN $3 IN ('delivered', 'failed', 'canceled') THEN now() END,
       CASE WHEN $3 = 'leased' THEN gen_random_uuid() END, $3, 'transaction.completed'
FROM generate_series(1, $4::integer) n"""


@pytest.fixture(scope="module")
def endpoint() -> UUID:
    return uuid4()


@pytest.fixture
async def database(fresh_database: Callable[[], str], endpoint: UUID) -> AsyncIterator[Database]:
    """With the settings that the app's connections have."""
    made = Database(fresh_database(), size=1)
    account = uuid4()
    number = 0
    for status in ("failed", "canceled", "scheduled", "leased", "pending", "delivered"):
        count = DELIVERED if status == "delivered" else RARE
        await made.execute(_FILL, endpoint, account, status, count, number)
        number += count
    await made.execute(_FILL, uuid4(), account, "scheduled", OTHERS, number)
    await made.execute("SET ROLE NONE; ANALYZE webhooks.deliveries")  # in earnest by itself
    yield made
    await made.close()


async def test_each_list_reads_a_page(database: Database, endpoint: UUID) -> None:
    for query, arguments in (
        (_SQL.list_deliveries, (endpoint, None, None, PAGE)),
        (_SQL.list_deliveries, (endpoint, None, "delivered", PAGE)),
        (_SQL.list_deliveries, (endpoint, None, "failed", PAGE)),
        (_SQL.list_deliveries, (endpoint, None, "canceled", PAGE)),
        (_SQL.list_pending_deliveries, (endpoint, None, PAGE)),
    ):
        found, blocks, plan = await _read(database, query, *arguments)
        assert found > 0
        assert blocks <= MAX_BLOCKS, (plan, arguments)


async def _read(database: Database, query: str, *arguments: Any) -> tuple[int, int, Any]:
    """How many rows it gives, how many blocks it touches, and the plan."""
    row = await database.fetch_one(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
    assert row is not None
    (explained,) = json.loads(row[0])
    plan = explained["Plan"]
    blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return plan["Actual Rows"], blocks, plan
