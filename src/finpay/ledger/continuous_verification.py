"""The continuous check: what is new in the ledger, proved a slice at a time while money moves.

`finpay ledger verify` reads everything. This reads each transaction once, soon after its commit,
with the accounts that it touched; a slice of all accounts in turn, so that no old balance drifts
unseen; and the total of each currency. It rests between slices, so that it takes a bounded share of
one connection. Any number of workers may run it: one row in PostgreSQL says whose turn it is.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Record, Transaction
from finpay.db.snapshot import snapshot
from finpay.ledger.verify import with_public_ids
from finpay.telemetry import logs, metrics

SLICE: Final = 2_000  # transactions in one snapshot: tens of milliseconds, which hold up no vacuum
MAX_SLICES: Final = 500  # of a round: a million transactions, then the totals are due again
ACCOUNTS: Final = 2_000  # of all, in turn, per round
REST: Final = 3.0  # times as long as a slice took: a quarter of one connection, at most
MAX_REST_S: Final = 30.0  # far below the lease, which would end meanwhile
SETTLED_S: Final = 60  # ids are made before the commit, by processes whose clocks may differ
LEASE_S: Final = 120  # for a slice on a slow day; who dies on the way is followed after it
MAX_SUSPECTS: Final = 100  # carried from round to round; where there are more, it goes no further
MAX_SENTENCES: Final = 10  # kept and logged; `finpay ledger verify` tells them all
FIRST: Final = UUID(int=0)

_TIME_SHIFT: Final = 80  # a UUIDv7 begins with 48 bits of milliseconds
_LOG: Final = logs.get()
_SQL: Final = queries.load("finpay.ledger", "continuous_verification.sql")

VerificationStatus = Literal["ok", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class State:
    """What the last check left. `checked_recently`: somebody still checks."""

    violations: int
    checked_through: datetime | None
    succeeded_at: datetime | None
    checked_recently: bool

    @property
    def verdict(self) -> VerificationStatus:
        """A violation that was found stands, even if nobody checks any more."""
        if self.violations:
            return "failed"
        return "ok" if self.checked_recently else "unknown"


@dataclass(slots=True)
class _Round:
    """Where it stands, and what it has found so far."""

    edge: datetime
    transaction_id: UUID
    account_id: UUID
    transactions: Sequence[UUID]
    accounts: Sequence[UUID]
    through: datetime | None = None
    violations: int = 0
    messages: list[str] = field(default_factory=list)

    def take(self, rows: Sequence[Record]) -> list[UUID]:
        """Counts what was found; whom it is about."""
        self.violations += len(rows)
        for row in rows[: MAX_SENTENCES - len(self.messages)]:
            self.messages.append(with_public_ids(row["sentence"]))
        return list(dict.fromkeys(row["id"] for row in rows if row["id"] is not None))


async def check(database: Database, *, every_s: int, settled_s: float = SETTLED_S) -> bool:
    """One round, if it is due and nobody else is at it: whether it was ours.

    Transactions younger than `settled_s` are left for the next one, `every_s` later. Unavailable
    if PostgreSQL was away; then the next one goes on where this one was.
    """
    row = await database.fetch_one(_SQL.claim_slice, LEASE_S)
    if row is None:
        return False
    turn = _Round(row["now"] - timedelta(seconds=settled_s), *row[1:])
    for number in range(MAX_SLICES):
        started_s = time.monotonic()
        async with snapshot(database) as view:
            for costly in ("enable_hashjoin", "enable_mergejoin", "jit"):  # made for whole tables
                await view.execute(f"SET LOCAL {costly} = off")
            if number == 0:
                await _look_again(view, turn)
            more = await _check_slice(view, turn) and number + 1 < MAX_SLICES
        await _note(database, turn, next_s=LEASE_S if more else every_s, done=not more)
        if not more:
            break
        await asyncio.sleep(min(REST * (time.monotonic() - started_s), MAX_REST_S))
    if turn.violations:
        _LOG.error("integrity_violated", violations=turn.violations, first=turn.messages)
    return True


async def look(database: Database) -> State:
    """What the last check left, which is also shown in this process's metrics."""
    row = await database.fetch_one(_SQL.get_state)
    state = State(0, None, None, checked_recently=False) if row is None else State(*row)
    metrics.VIOLATIONS.set(state.violations)
    metrics.CHECKED_THROUGH.set(_seconds(state.checked_through))
    metrics.LAST_SUCCESS.set(_seconds(state.succeeded_at))
    return state


async def _look_again(view: Transaction, turn: _Round) -> None:
    """Totals, old suspects, and the next of all accounts."""
    turn.take(await view.fetch(_SQL.check_totals))
    found = await view.fetch(_SQL.check_transactions, turn.transactions)
    turn.transactions = turn.take(found)
    rows = await view.fetch(_SQL.list_next_accounts, turn.account_id, ACCOUNTS)
    turn.account_id = rows[-1]["id"] if len(rows) == ACCOUNTS else FIRST
    accounts = {*turn.accounts, *(row["id"] for row in rows)}
    turn.accounts = turn.take(await view.fetch(_SQL.check_accounts, list(accounts)))


async def _check_slice(view: Transaction, turn: _Round) -> bool:
    """The next transactions and their accounts. Whether more of them are settled."""
    edge = UUID(int=int(turn.edge.timestamp() * 1_000) << _TIME_SHIFT)
    rows = await view.fetch(_SQL.list_next_transactions, turn.transaction_id, edge, SLICE)
    touched = {row[side] for row in rows for side in ("sender_id", "receiver_id")}
    fresh = [row["id"] for row in rows if row["id"] not in turn.transactions]
    found = turn.take(await view.fetch(_SQL.check_transactions, fresh))
    unsound = turn.take(
        await view.fetch(_SQL.check_accounts, list(touched.difference(turn.accounts)))
    )
    if max(len(turn.transactions) + len(found), len(turn.accounts) + len(unsound)) > MAX_SUSPECTS:
        turn.transactions = turn.transactions[:MAX_SUSPECTS]
        turn.accounts = turn.accounts[:MAX_SUSPECTS]
        return False
    turn.transactions = [*turn.transactions, *found]
    turn.accounts = [*turn.accounts, *unsound]
    more = len(rows) == SLICE
    turn.through = rows[-1]["created_at"] if more else turn.edge
    if rows:
        turn.transaction_id = rows[-1]["id"]
    return more


async def _note(database: Database, turn: _Round, *, next_s: int, done: bool) -> None:
    await database.execute(
        _SQL.save_progress,
        turn.transaction_id,
        turn.account_id,
        turn.through,
        turn.transactions,
        turn.accounts,
        turn.violations,
        turn.messages,
        next_s,
        done,
    )


def _seconds(moment: datetime | None) -> float:
    return 0 if moment is None else moment.timestamp()
