"""What a wallet asks most, read together: the account, and the newest page of its history.

Planning a statement costs PostgreSQL more than running it for one account, so those who ask in the
same moment share one. Whoever turns pages or filters asks alone, through reads.py.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from finpay.concurrency.micro_batcher import MicroBatcher
from finpay.db.pool import Database, Unavailable
from finpay.errors import Code
from finpay.ledger import reads
from finpay.ledger.reads import Account, History

MAX_TOGETHER: Final = 100  # pages, mostly of 20 rows: a few milliseconds of one connection
FLIGHTS: Final = 2  # a connection that hangs leaves one for the others
MAX_QUEUE: Final = 4_000
SOON_S: Final = 0.5  # who failed later than this hung, and would hang again
DEADLINE_S: Final = 4.5  # a request has to be answered within 5 s when PostgreSQL hangs

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True, eq=False)
class AccountRead:
    """Asks for the account of a user."""

    user_id: UUID


@dataclass(frozen=True, slots=True, eq=False)
class FirstPageRead:
    """Asks for the newest `limit` steps of an account."""

    account_id: UUID
    limit: int


class BatchedReads:
    """One per process. What it answers was true after it was asked: a batch reads when it leaves,
    never before its last item came."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accounts: MicroBatcher[AccountRead, Account | None] = MicroBatcher(
            self._read_accounts, max_in_flight=FLIGHTS, max_batch=MAX_TOGETHER, max_queued=MAX_QUEUE
        )
        self._pages: MicroBatcher[FirstPageRead, History | None] = MicroBatcher(
            self._read_pages, max_in_flight=FLIGHTS, max_batch=MAX_TOGETHER, max_queued=MAX_QUEUE
        )

    async def account(self, user_id: UUID) -> Account | None:
        """The user's account; None if there is none. Unavailable if PostgreSQL is."""
        return await self._account(AccountRead(user_id))

    async def newest(self, account_id: UUID, limit: int) -> History | None:
        """The first page of its history, newest first; None if there is no such account.
        Unavailable if PostgreSQL is."""
        return await self._page(FirstPageRead(account_id, limit))

    async def _account(self, asked: AccountRead) -> Account | None:
        return await _in_time(self._accounts.submit(asked))

    async def _page(self, asked: FirstPageRead) -> History | None:
        return await _in_time(self._pages.submit(asked))

    async def _read_accounts(self, asked: Sequence[AccountRead]) -> Sequence[Account | None]:
        users = [one.user_id for one in asked]
        return await _twice(lambda: reads.accounts_of_users(self._database, users))

    async def _read_pages(self, asked: Sequence[FirstPageRead]) -> Sequence[History | None]:
        accounts, limits = [one.account_id for one in asked], [one.limit for one in asked]
        return await _twice(lambda: reads.newest(self._database, accounts, limits))


async def _twice(read: Callable[[], Awaitable[Read]]) -> Read:
    """A connection that is lost would take all who share it along: a fresh one may work."""
    started_s = time.monotonic()
    try:
        return await read()
    except Unavailable:
        if time.monotonic() - started_s > SOON_S:
            raise
        return await read()


async def _in_time(read: Awaitable[Read]) -> Read:
    """Those who wait for a hanging batch and then hang themselves would wait twice."""
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
