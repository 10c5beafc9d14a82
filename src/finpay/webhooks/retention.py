"""Removes old deliveries with their attempts, then old events, in small statements.

An account's oldest events go first, and none that has an unfinished delivery.
outbox.retention_watermarks keeps how far it went, so that `ledger verify` does not take removed
events for lost ones. Locked rows are skipped.
"""

import asyncio
import time
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database

PAUSE_S: Final = 600.0  # between runs: rows that are kept for days may be minutes late
STATEMENT_PAUSE_S: Final = 0.05  # between the statements of a run: bounds the load of PostgreSQL
DELIVERIES_PER_STATEMENT: Final = 1_000
ACCOUNTS_PER_STATEMENT: Final = 200
EVENTS_PER_ACCOUNT: Final = 500
FIRST: Final = UUID(int=0)

_TIME_SHIFT: Final = 80  # a UUIDv7 begins with 48 bits of milliseconds
_SQL: Final = queries.load("finpay.webhooks", "retention.sql")


async def prune(database: Database, keep_s: int) -> tuple[int, int]:
    """One run. Returns how many deliveries and events were removed."""
    return await _prune_deliveries(database, keep_s), await _prune_events(database, keep_s)


async def _prune_deliveries(database: Database, keep_s: int) -> int:
    removed: int = 0
    after = FIRST
    cutoff = UUID(int=int((time.time() - keep_s) * 1_000) << _TIME_SHIFT)
    while True:
        row = await database.fetch_one(
            _SQL.delete_old_deliveries, after, cutoff, keep_s, DELIVERIES_PER_STATEMENT
        )
        assert row is not None  # noqa: S101  an aggregate has one row
        removed += row["removed"]
        if row["last"] is None:
            return removed
        after = row["last"]
        await asyncio.sleep(STATEMENT_PAUSE_S)


async def _prune_events(database: Database, keep_s: int) -> int:
    """Account by account; one with more than EVENTS_PER_ACCOUNT takes several statements."""
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
        await asyncio.sleep(STATEMENT_PAUSE_S)
