"""The whole ledger at the end of a run, and its totals during the run."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Unavailable
from finpay.db.snapshot import snapshot

READ_EVERY_S: Final = 0.05

_SQL: Final = queries.load("torture", "ledger_snapshot.sql")


@dataclass(frozen=True, slots=True)
class Account:
    """`public_id` is the API's `acc_…`; a system account stands for the outside world."""

    id: UUID
    public_id: str
    is_system: bool
    balance: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Transaction:
    """One row of the ledger. `mark` is its description: the mark of its item, or of its origin."""

    id: UUID
    status: str
    sender: UUID
    receiver: UUID
    amount: int
    mark: str | None
    origin: str | None = None  # the kind of what it came of
    origin_id: UUID | None = None
    scheduled_for: datetime | None = None
    refunded: int = 0
    type: str = "transfer"

    @property
    def moved(self) -> bool:
        """Whether it moved money; a refund that reverses it is a transaction of its own."""
        return self.status in {"completed", "reversed"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of an account's history: an entry (signed amount), or a failed transaction (0)."""

    account: UUID
    sequence: int
    transaction: UUID
    amount: int
    balance_after: int
    held_after: int = 0


@dataclass(frozen=True, slots=True)
class HeldStep:
    """An event that changed what an account has on hold. `amount` is what was captured so far; of
    a new object its whole amount."""

    account: UUID
    sequence: int
    object: str
    type: str
    amount: int
    status: str


@dataclass(frozen=True, slots=True)
class LedgerObject:
    """A hold, withdrawal, payment request or schedule. `taken`: captured, or the number of runs."""

    kind: str
    id: str
    owner: UUID
    other: UUID | None
    amount: int
    taken: int
    status: str
    mark: str | None


@dataclass(frozen=True, slots=True)
class Approval:
    """What an operator asked for, and the transaction that another operator made of it.

    `mark` is that of the request; `target` the id of the withdrawal or transaction, empty for a
    deposit.
    """

    id: str
    mark: str
    amount: int
    status: str
    target: str = ""
    transaction: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """All rows, at one moment."""

    accounts: Sequence[Account]
    transactions: Sequence[Transaction]
    entries: Sequence[Entry]
    audit: Sequence[tuple[UUID, str]]  # transaction, action
    events: Sequence[tuple[UUID, int, UUID, str]]  # account, sequence, transaction, type
    other_events: Sequence[tuple[UUID, int, str]] = ()
    held_steps: Sequence[HeldStep] = ()
    objects: Sequence[LedgerObject] = ()
    approvals: Sequence[Approval] = ()
    audit_of_objects: Sequence[tuple[str, str]] = ()  # an object, the action that ended it


async def read(database: Database) -> LedgerSnapshot:
    """In one snapshot, without time limits."""
    async with snapshot(database) as view:
        return LedgerSnapshot(
            [Account(*row) for row in await view.fetch(_SQL.list_accounts)],
            [Transaction(*row) for row in await view.fetch(_SQL.list_transactions)],
            [Entry(*row) for row in await view.fetch(_SQL.list_history)],
            [tuple(row) for row in await view.fetch(_SQL.list_audit_rows)],
            [tuple(row) for row in await view.fetch(_SQL.list_events)],
            [tuple(row) for row in await view.fetch(_SQL.list_other_events)],
            [HeldStep(*row) for row in await view.fetch(_SQL.list_held_steps)],
            [LedgerObject(*row) for row in await view.fetch(_SQL.list_objects)],
            [Approval(*row) for row in await view.fetch(_SQL.list_approvals)],
            [tuple(row) for row in await view.fetch(_SQL.list_audit_rows_of_objects)],
        )


async def overdue(database: Database) -> dict[str, int]:
    """What a worker should have expired or run, by its name."""
    row = await database.fetch_one(_SQL.count_overdue)
    return {} if row is None else {name: number for name, number in row.items() if number}


async def sessions(database: Database) -> tuple[int, int]:
    """Connections of the API and the worker: how many, and how many idle in a transaction."""
    row = await database.fetch_one(_SQL.count_sessions)
    return (row["open"], row["idle"]) if row is not None else (0, 0)


@dataclass(slots=True)
class LedgerMonitor:
    """Reads the totals of all accounts repeatedly, also while PostgreSQL has faults."""

    database: Database
    total: int
    reads: int = 0
    impossible: list[str] = field(default_factory=list)
    deadlocks: int = 0
    _last: int = 0
    _version: int = 0  # of the system account, up to which `_brought_in` was summed
    _brought_in: int = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.check()
            except Unavailable:
                self._last = 0  # a crash resets the server's statistics
            await asyncio.sleep(READ_EVERY_S)

    async def check(self) -> None:
        row = await self.database.fetch_one(_SQL.sum_balances, self._version)
        assert row is not None, "an aggregate answers one row"  # noqa: S101
        self._version = row["version"]
        self._brought_in += row["brought_in"]
        self.check_totals(row["users"], row["everything"], row["lowest"], self._brought_in)
        statistics = await self.database.fetch_one(_SQL.get_deadlocks)
        deadlocks = statistics["deadlocks"] if statistics is not None else 0
        self.deadlocks += max(0, deadlocks - self._last)
        self._last = deadlocks

    def check_totals(self, users: int, everything: int, lowest: int, brought_in: int) -> None:
        """The users have the total and what was brought in, the system accounts owe it, none has
        less than 0 available."""
        self.reads += 1
        total = self.total + brought_in
        if (users, everything) != (total, 0) or lowest < 0:
            self.impossible.append(
                f"read {self.reads}: the users have {users} of {total}, all accounts sum to "
                f"{everything}, the least available is {lowest}"
            )
