"""The most frequent reads in batches: the account, and the first page of its history.

Planning a statement costs PostgreSQL more than running it for one account, so reads of the same
moment share a statement. Later pages and filtered lists are read one by one, by reads.py.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from finpay.concurrency.batch_observer import NO_OBSERVER, BatchObserver
from finpay.concurrency.micro_batcher import MicroBatcher
from finpay.db.pool import Database, Unavailable
from finpay.errors import Code
from finpay.ledger import reads
from finpay.ledger.reads import Account, History

MAX_BATCH: Final = 100  # pages, mostly of 20 rows: a few milliseconds of one connection
MAX_IN_FLIGHT: Final = 2  # a connection that hangs leaves one for the others
MAX_QUEUED: Final = 4_000
RETRY_WITHIN_S: Final = 0.5  # a read that failed later hung, and its retry would hang as well
DEADLINE_S: Final = 4.5  # a request has to be answered within 5 s when PostgreSQL hangs

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True, eq=False)
class AccountRead:
    """A read of the account of a user."""

    user_id: UUID


@dataclass(frozen=True, slots=True, eq=False)
class FirstPageRead:
    """A read of the newest `limit` steps of an account."""

    account_id: UUID
    limit: int


class BatchedReads:
    """One per process. A result is as new as its call: a batch is read after its last item was
    submitted."""

    def __init__(self, database: Database, observer: BatchObserver = NO_OBSERVER) -> None:
        self._database = database
        self._observer = observer
        self._accounts: MicroBatcher[AccountRead, Account | None] = MicroBatcher(
            self._read_accounts,
            max_in_flight=MAX_IN_FLIGHT,
            max_batch=MAX_BATCH,
            max_queued=MAX_QUEUED,
        )
        self._pages: MicroBatcher[FirstPageRead, History | None] = MicroBatcher(
            self._read_pages,
            max_in_flight=MAX_IN_FLIGHT,
            max_batch=MAX_BATCH,
            max_queued=MAX_QUEUED,
        )

    async def account(self, user_id: UUID) -> Account | None:
        """The user's account; None if there is none. Unavailable if PostgreSQL is."""
        read = AccountRead(user_id)
        with self._observer.item(read):
            return await _in_time(self._accounts.submit(read))

    async def newest(self, account_id: UUID, limit: int) -> History | None:
        """The first page of its history, newest first; None if there is no such account.
        Unavailable if PostgreSQL is."""
        read = FirstPageRead(account_id, limit)
        with self._observer.item(read):
            return await _in_time(self._pages.submit(read))

    async def _read_accounts(self, batch: Sequence[AccountRead]) -> Sequence[Account | None]:
        users = [read.user_id for read in batch]
        with self._observer.batch(batch, len(batch)):
            return await _retried(lambda: reads.accounts_of_users(self._database, users))

    async def _read_pages(self, batch: Sequence[FirstPageRead]) -> Sequence[History | None]:
        accounts, limits = [read.account_id for read in batch], [read.limit for read in batch]
        with self._observer.batch(batch, len(batch)):
            return await _retried(lambda: reads.newest(self._database, accounts, limits))


async def _retried(read: Callable[[], Awaitable[Read]]) -> Read:
    """Once more after a lost connection, which would fail the whole batch: a fresh one may work."""
    started_s = time.monotonic()
    try:
        return await read()
    except Unavailable:
        if time.monotonic() - started_s > RETRY_WITHIN_S:
            raise
        return await read()


async def _in_time(read: Awaitable[Read]) -> Read:
    """Within DEADLINE_S, the wait for the batch before it included."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await read
    except TimeoutError:
        raise Unavailable(
            Code.UNAVAILABLE,
            "The database did not answer. Try again.",
            headers={"Retry-After": "1"},
            may_have_run=False,
        ) from None
