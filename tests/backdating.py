"""Rows made older than they are, as if time had passed: the database's clock can't be moved."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import asyncpg

from finpay import ids

_OVERDUE: Final = """
UPDATE ledger.payment_requests SET expires_at = now() - interval '1 ms' WHERE id = $1
"""
_HOLD_ENDS: Final = """
WITH expiries AS (
    UPDATE ledger.hold_expiries SET expires_at = now() + $2 * interval '1 ms' WHERE hold_id = $1
)
UPDATE ledger.holds SET expires_at = now() + $2 * interval '1 ms' WHERE id = $1
"""
_EARLIER: Final = """
UPDATE ledger.schedules
SET start_at = start_at - $2::text::interval, next_at = next_at - $2::text::interval,
    created_at = created_at - $2::text::interval, until = until - $2::text::interval
WHERE id = $1
"""


def end_time(database_url: str, request_id: str) -> None:
    """Lets the time of a payment request be over."""
    _run(database_url, _OVERDUE, ids.decode("prq", request_id))


def end_hold(database_url: str, hold_id: str, after_ms: int = 0) -> None:
    """Lets the time of a hold be over, at once or after some milliseconds."""
    _run(database_url, _HOLD_ENDS, ids.decode("hld", hold_id), after_ms)


def start_earlier(database_url: str, schedule_id: str, interval: str) -> None:
    """Moves a schedule into the past by an interval such as `3 days`."""
    _run(database_url, _EARLIER, ids.decode("sch", schedule_id), interval)


def _run(database_url: str, statement: str, *args: Any) -> None:
    """As a superuser, so that no trigger keeps the times as they were."""

    async def run() -> None:
        connection = await asyncpg.connect(database_url)
        try:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(statement, *args)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(run())).result()
