"""The balance of an account at a moment, and the entries of a period.

A read of a moment is final: it waits for the transactions that were open when it began and may
still write an entry of that moment. They hold the account's lock for milliseconds.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.errors import unavailable
from finpay.statements.periods import Period

PAGE_ENTRIES: Final = 1_000  # of one query: some 10 ms of this process and of PostgreSQL
MAX_PAGE_QUERIES: Final = 2  # at a time in a process: they share the pool with all other reads
MAX_WAIT_S: Final = 2.0  # for an open transaction, then 503
POLL_S: Final = 0.005

_SQL: Final = queries.load("finpay.statements")

StatementRow: TypeAlias = Record  # a row of list_statement_entries
Pages: TypeAlias = AsyncGenerator[Sequence[StatementRow], None]


@dataclass(frozen=True, slots=True)
class PastBalance:
    """A balance after the entry of a version. `held` is None where no moment was asked for."""

    version: int
    balance: int
    held: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Bounds:
    """Whose statement it is, and which versions are in it: those after `opening` to `closing`."""

    account_id: UUID
    currency: str
    name: str | None
    email: str
    opening: int
    closing: int
    opening_balance: int
    closing_balance: int

    @property
    def entries(self) -> int:
        return self.closing - self.opening


class StatementReads:
    """One per process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._page_queries = asyncio.Semaphore(MAX_PAGE_QUERIES)

    async def now(self) -> datetime:
        """The database's clock, which entries have their times of."""
        row = await self._database.fetch_one(_SQL.get_time)
        assert row is not None  # noqa: S101  a SELECT without a table has a row
        now: datetime = row[0]
        return now

    async def balance_at(self, account_id: UUID, moment: datetime) -> PastBalance | None:
        """None if there is no such account. `moment` has passed, by `now`."""
        await self._await_writer(account_id)
        row = await self._database.fetch_one(_SQL.get_balance_at, account_id, moment)
        return None if row is None else PastBalance(row[0], row[1], row[2], moment)

    async def balance_of_version(self, account_id: UUID, version: int) -> PastBalance | None:
        """None for a version that was not reached yet."""
        row = await self._database.fetch_one(_SQL.get_balance_of_version, account_id, version)
        return None if row is None else PastBalance(version, row[0], None, row[1])

    async def bounds(self, account_id: UUID, period: Period, now: datetime) -> Bounds | None:
        """None if there is no such account. `now` was read before."""
        await self._await_writer(account_id)
        closes_at = min(period.closes_at, now)
        row = await self._database.fetch_one(
            _SQL.get_statement_bounds, account_id, period.opens_after, closes_at
        )
        return None if row is None else Bounds(account_id, *row)

    async def pages(self, bounds: Bounds) -> Pages:
        """All entries, oldest first. Each page is a query of its own, so no transaction is kept
        open; the next one is read while a page is used."""
        starts = range(bounds.opening, bounds.closing, PAGE_ENTRIES)
        reading = None
        try:
            for after in starts:
                rows = await (reading or self._page(bounds, after))
                following = after + PAGE_ENTRIES
                reading = None
                if following < bounds.closing:
                    reading = asyncio.create_task(self._page(bounds, following))
                    # The reader may be gone by then: asyncio would log an error.
                    reading.add_done_callback(lambda done: done.cancelled() or done.exception())
                    await asyncio.sleep(0)  # lets it send its query before this page takes its time
                yield rows
        finally:
            if reading is not None:
                reading.cancel()

    async def _page(self, bounds: Bounds, after: int) -> Sequence[StatementRow]:
        through = min(after + PAGE_ENTRIES, bounds.closing)
        async with self._page_queries:
            rows = await self._database.fetch(
                _SQL.list_statement_entries, bounds.account_id, after, through
            )
        if len(rows) != through - after:
            raise RuntimeError(f"entries are missing after version {after}")
        return rows

    async def _await_writer(self, account_id: UUID) -> None:
        """Returns when the transaction has ended that holds the account's lock now."""
        row = await self._database.fetch_one(_SQL.get_open_writer, account_id)
        writer = None if row is None else row[0]
        until_s = time.monotonic() + MAX_WAIT_S
        while writer is not None and await self._is_open(writer):
            if time.monotonic() > until_s:
                raise unavailable("A transaction of this account is not finished yet. Try again.")
            await asyncio.sleep(POLL_S)

    async def _is_open(self, writer: str) -> bool:
        row = await self._database.fetch_one(_SQL.is_writer_open, writer)
        return row is not None and bool(row[0])
