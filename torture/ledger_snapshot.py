"""What the ledger says when all is over, and what the bank looked like while it was not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Unavailable
from finpay.db.snapshot import snapshot

READ_EVERY_S: Final = 0.05

_SQL: Final = queries.load("torture", "ledger_snapshot.sql")


@dataclass(frozen=True, slots=True)
class Account:
    """`public_id` as the API tells it; a system account stands for the outside world."""

    id: UUID
    public_id: str
    is_system: bool
    balance: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """One row of the ledger. `mark` is its description: the item that asked for it."""

    id: UUID
    status: str
    sender: UUID
    receiver: UUID
    amount: int
    mark: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One number of an account's history: an entry (signed amount), or a failure (0)."""

    account: UUID
    sequence: int
    transaction: UUID
    amount: int
    balance_after: int


@dataclass(frozen=True, slots=True)
class Truth:
    """All of it, at one moment."""

    accounts: Sequence[Account]
    transactions: Sequence[Transaction]
    steps: Sequence[Step]
    audit: Sequence[tuple[UUID, str]]  # transaction, action
    events: Sequence[tuple[UUID, int, UUID, str]]  # account, sequence, transaction, type


async def read(database: Database) -> Truth:
    """In one snapshot, without time limits."""
    async with snapshot(database) as view:
        return Truth(
            [Account(*row) for row in await view.fetch(_SQL.accounts)],
            [Transaction(*row) for row in await view.fetch(_SQL.transactions)],
            [Step(*row) for row in await view.fetch(_SQL.steps)],
            [tuple(row) for row in await view.fetch(_SQL.audit)],
            [tuple(row) for row in await view.fetch(_SQL.events)],
        )


async def sessions(database: Database) -> tuple[int, int]:
    """Connections of the API and the worker: how many, and how many idle in a transaction."""
    row = await database.fetch_one(_SQL.sessions)
    return (row["open"], row["idle"]) if row is not None else (0, 0)


@dataclass(slots=True)
class Watch:
    """Reads the whole bank again and again, whatever happens to PostgreSQL meanwhile."""

    database: Database
    total: int
    reads: int = 0
    impossible: list[str] = field(default_factory=list)
    deadlocks: int = 0
    _last: int = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable:
                self._last = 0  # a crash makes the server forget its figures
            await asyncio.sleep(READ_EVERY_S)

    async def look(self) -> None:
        row = await self.database.fetch_one(_SQL.bank)
        assert row is not None, "an aggregate answers one row"  # noqa: S101
        self.judge(row["users"], row["everybody"], row["lowest"])
        told = await self.database.fetch_one(_SQL.deadlocks)
        deadlocks = told["deadlocks"] if told is not None else 0
        self.deadlocks += max(0, deadlocks - self._last)
        self._last = deadlocks

    def judge(self, users: int, everybody: int, lowest: int) -> None:
        """One read of the bank: the users have the total, the world owes it, nobody is below 0."""
        self.reads += 1
        if (users, everybody) != (self.total, 0) or lowest < 0:
            self.impossible.append(
                f"read {self.reads}: the users have {users} of {self.total}, all accounts sum to "
                f"{everybody}, the poorest has {lowest}"
            )
