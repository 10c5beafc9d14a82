"""The benchmark's long history goes in through COPY and leaves a ledger that verifies."""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import asyncpg
import pytest

from benchmarks.copy_loader import fill
from benchmarks.stack import BenchError
from benchmarks.synthetic_ledger import History, Plan
from finpay.db.pool import Database
from finpay.dev.postgres import Cluster
from finpay.ledger.verify import verify

PLAN = Plan(transactions=5_000, accounts=50, big_entries=500)


async def test_it_loads_once_and_verifies(
    postgres_server: Cluster, fresh_database: Callable[[], str]
) -> None:
    url = fresh_database()
    name = urlsplit(url).path.removeprefix("/")
    history = History(PLAN)
    await asyncio.to_thread(fill, postgres_server, name, history)
    database = Database(url, size=1)
    report = await verify(database)
    await database.close()
    assert report.ok, [check for check in report.checks if not check.ok]
    connection = await asyncpg.connect(url)
    big = history.users()[0].account_id
    version = await connection.fetchval("SELECT version FROM ledger.accounts WHERE id = $1", big)
    await connection.close()
    assert 480 < version <= 501
    with pytest.raises(BenchError, match="not empty"):
        await asyncio.to_thread(fill, postgres_server, name, History(PLAN))
