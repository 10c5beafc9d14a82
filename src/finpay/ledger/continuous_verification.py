"""Continuous verification: new transactions are verified a slice at a time while money moves.

`finpay ledger verify` reads everything. This reads each transaction once, soon after its commit,
with the accounts that it touched; a few more accounts in id order, so that each is verified in
turn; and the total of each currency. ledger.verify_slice chooses, verifies and records a slice in
SQL, so that the app's role can't report a result of its own. Any number of workers may run it: a
slice locks the one row of ledger.verification_state, and the others skip it.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.telemetry import logs, metrics

SLICE: Final = 2_000  # transactions in one snapshot: tens of milliseconds, which delay no vacuum
MAX_SLICES: Final = 500  # of a round, as in SQL: a million transactions
IDLE_FACTOR: Final = 3.0  # times as long as a slice took: a quarter of one connection, as in SQL
MAX_IDLE_S: Final = 30.0
SAFETY_LAG_S: Final = 60  # ids are made before the commit, by processes whose clocks may differ
SLICE_TIMEOUT_S: Final = 120  # a cold cache; a hanging one must not keep the state's lock for ever

_LOG: Final = logs.get()
_SQL: Final = queries.load("finpay.ledger", "continuous_verification.sql")

VerificationStatus = Literal["ok", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class State:
    """The result of the last slice. `checked_recently`: a worker still verifies."""

    violations: int
    checked_through: datetime | None
    succeeded_at: datetime | None
    checked_recently: bool

    @property
    def status(self) -> VerificationStatus:
        """`failed` while a violation is recorded, even if no worker verifies any more."""
        if self.violations:
            return "failed"
        return "ok" if self.checked_recently else "unknown"


async def run_round(
    database: Database,
    *,
    every_s: int,
    safety_lag_s: int = SAFETY_LAG_S,
    slice_size: int = SLICE,
) -> bool:
    """One round, if it is due and no other worker runs it; whether it ran.

    Transactions younger than `safety_lag_s` are left for the next round, `every_s` later.
    Unavailable if PostgreSQL is; the next round continues after the last slice.
    """
    started = False
    for _ in range(MAX_SLICES):
        started_s = time.monotonic()
        row = await _verify_slice(database, every_s, safety_lag_s, slice_size)
        if row["is_done"] is None:
            return started
        started = True
        if row["is_done"]:
            if row["violations"]:
                _LOG.error(
                    "integrity_violated", violations=row["violations"], messages=row["messages"]
                )
            break
        await asyncio.sleep(min(IDLE_FACTOR * (time.monotonic() - started_s), MAX_IDLE_S))
    return started


async def read_state(database: Database) -> State:
    """The result of the last slice, which also becomes the value of this process's metrics."""
    row = await database.fetch_one(_SQL.get_state)
    state = State(0, None, None, checked_recently=False) if row is None else State(*row)
    metrics.VIOLATIONS.set(state.violations)
    metrics.CHECKED_THROUGH.set(_seconds(state.checked_through))
    metrics.LAST_SUCCESS.set(_seconds(state.succeeded_at))
    return state


async def _verify_slice(database: Database, *args: int) -> Record:
    async with database.unbounded_transaction() as transaction:
        await transaction.execute(f"SET LOCAL statement_timeout = '{SLICE_TIMEOUT_S}s'")
        return await transaction.fetch_one(_SQL.verify_slice, *args)


def _seconds(moment: datetime | None) -> float:
    return 0 if moment is None else moment.timestamp()
