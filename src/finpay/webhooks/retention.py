"""Removes what is old and was delivered, a little at a time, while everybody goes on.

First deliveries and their attempts, then events: always the oldest of an account, and never one
that an endpoint still waits for. How far it went stands in outbox.pruned, so that `ledger verify`
knows a hole from a loss. Each statement takes few rows and waits for none.
"""

import asyncio
import time
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database

PAUSE_S: Final = 600.0  # between rounds: nothing that is kept for days is late by minutes
BREATH_S: Final = 0.05  # between statements of a round, so that it takes few of PostgreSQL's means
DELIVERIES_PER_STATEMENT: Final = 1_000
ACCOUNTS_PER_STATEMENT: Final = 200
EVENTS_PER_ACCOUNT: Final = 500
FIRST: Final = UUID(int=0)

_TIME_SHIFT: Final = 80  # a UUIDv7 begins with 48 bits of milliseconds
_SQL: Final = queries.load("finpay.webhooks", "retention.sql")


async def prune(database: Database, keep_s: int) -> tuple[int, int]:
    """One round: how many deliveries and how many events were removed."""
    return await _prune_deliveries(database, keep_s), await _prune_events(database, keep_s)


async def _prune_deliveries(database: Database, keep_s: int) -> int:
    removed: int = 0
    after = FIRST
    edge = UUID(int=int((time.time() - keep_s) * 1_000) << _TIME_SHIFT)
    while True:
        row = await database.fetch_one(
            _SQL.delete_old_deliveries, after, edge, keep_s, DELIVERIES_PER_STATEMENT
        )
        assert row is not None  # noqa: S101  an aggregate has one row
        removed += row["removed"]
        if row["last"] is None:
            return removed
        after = row["last"]
        await asyncio.sleep(BREATH_S)


async def _prune_events(database: Database, keep_s: int) -> int:
    """Accounts in turn; one that has much to remove comes again until it has no more."""
    removed: int = 0
    after = FIRST
    while True:
        row = await database.fetch_one(
            _SQL.delete_old_events, after, keep_s, ACCOUNTS_PER_STATEMENT, EVENTS_PER_ACCOUNT
        )
        assert row is not None  # noqa: S101
        removed += row["removed"]
        if row["last"] is None:
            return removed
        after = row["last"]
        await asyncio.sleep(BREATH_S)
