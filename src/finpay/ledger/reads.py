"""What an account's owner can read: the account, its entries, its history.

Pages begin after a position (keyset), never at an offset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Record

_SQL: Final = queries.load("finpay.ledger")
_END: Final = 2**63 - 1  # beyond every version and sequence: the first page


@dataclass(frozen=True, slots=True)
class Account:
    """A user's account. Amounts in minor units; `sequence` counts what its owner can see.

    `limits` is JSON.
    """

    id: UUID
    balance: int
    held: int
    currency: str
    status: str
    version: int
    sequence: int
    limits: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of one account: `amount` is signed."""

    account_id: UUID
    transaction_id: UUID
    version: int
    amount: int
    balance_after: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AccountTransaction:
    """A transaction as one of its parties sees it, with its position in that party's history."""

    id: UUID
    type: str
    status: str
    sender_id: UUID
    receiver_id: UUID
    amount: int
    currency: str
    description: str | None
    metadata: str
    failure_code: str | None
    created_at: datetime
    entry_version: int
    sequence: int
    balance_after: int
    held_after: int
    origin_type: str | None
    origin_id: UUID | None
    scheduled_for: datetime | None
    refunded_amount: int


@dataclass(frozen=True, slots=True)
class HistoryPosition:
    """Where a page of history ends: what lies before both belongs to the next one."""

    version: int = _END
    sequence: int = _END

    @property
    def values(self) -> tuple[int, int]:
        return self.version, self.sequence


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of transactions may be narrowed to; None means everything.

    `origin` is a type and an id, `metadata` a key and its value.
    """

    direction: str | None = None
    status: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    amount_min: int | None = None
    amount_max: int | None = None
    counterparty_id: UUID | None = None
    type: str | None = None
    origin: tuple[str, UUID] | None = None
    metadata: tuple[str, str] | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """A page, and the account's sequence when it was read.

    `scanned_to`: the page may be short because no more rows were read than up to here.
    """

    steps: Sequence[AccountTransaction]
    sequence: int
    scanned_to: HistoryPosition | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer stored with an idempotency key."""

    key: str
    http_status: int
    answer: str
    transaction_id: UUID | None
    created_at: datetime


async def stored_answer(database: Database, user_id: UUID, key: str) -> StoredAnswer | None:
    """What the user's key stands for, or None."""
    row = await database.fetch_one(_SQL.get_idempotency_key, user_id, key)
    return None if row is None else StoredAnswer(*row)


async def accounts_of_users(database: Database, users: Sequence[UUID]) -> list[Account | None]:
    """The account of each user, in their order; None for who has none."""
    rows = await database.fetch(_SQL.list_accounts_of_users, users)
    found = {row["user_id"]: Account(*tuple(row)[1:]) for row in rows}
    return [found.get(user) for user in users]


async def entries(
    database: Database,
    account_id: UUID,
    *,
    before_version: int | None,
    created_from: datetime | None,
    created_to: datetime | None,
    limit: int,
) -> list[Entry]:
    """Newest first, at most `limit`, all before a version."""
    before = _END if before_version is None else before_version
    rows = await database.fetch(
        _SQL.list_entries, account_id, before, created_from, created_to, limit
    )
    return [Entry(*row) for row in rows]


async def history(
    database: Database,
    user_id: UUID,
    account_id: UUID,
    *,
    before: HistoryPosition,
    filters: Filters,
    limit: int,
) -> History:
    """Newest first, at most `limit`, all before a position."""
    floor = HistoryPosition(0, 0)
    if filters.idempotency_key is not None:
        found = await _range_of_key(database, user_id, account_id, filters.idempotency_key)
        if found is None:
            return History([], 0)
        floor, end = found
        before = HistoryPosition(
            min(before.version, end.version), min(before.sequence, end.sequence)
        )
    bounds = account_id, before.version, before.sequence, floor.version, floor.sequence
    rows = await database.fetch(
        _SQL.list_transactions,
        *bounds,
        filters.direction,
        filters.status,
        filters.created_from,
        filters.created_to,
        filters.amount_min,
        filters.amount_max,
        filters.counterparty_id,
        filters.type,
        *(filters.origin or (None, None)),
        *(filters.metadata or (None, None)),
        limit,
    )
    steps = [_step(row) for row in rows if row["id"] is not None]
    scanned_to = None if len(steps) == limit else await _scanned_position(database, bounds)
    if scanned_to is not None:
        steps = [step for step in steps if step.sequence >= scanned_to.sequence]
    return History(steps, rows[0]["account_sequence"], scanned_to)


async def _scanned_position(
    database: Database, bounds: tuple[UUID, int, int, int, int]
) -> HistoryPosition | None:
    row = await database.fetch_one(_SQL.get_scanned_position, *bounds)
    return None if row is None else HistoryPosition(row["version"], row["sequence"])


async def newest(
    database: Database, accounts: Sequence[UUID], limits: Sequence[int]
) -> list[History | None]:
    """The newest page of each account, in their order, without filters, at most so many steps each;
    None for an unknown account."""
    rows = await database.fetch(_SQL.list_first_pages, accounts, limits)
    pages: list[History | None] = [None] * len(accounts)
    for number, group in groupby(rows, key=itemgetter("number")):
        of_one = list(group)
        steps = [_step(row) for row in of_one if row["id"] is not None]
        pages[number - 1] = History(steps, of_one[0]["account_sequence"])
    return pages


async def transaction(
    database: Database, transaction_id: UUID, account_id: UUID
) -> AccountTransaction | None:
    """One transaction for one of its parties; None for other accounts."""
    row = await database.fetch_one(_SQL.get_transaction, transaction_id, account_id)
    return None if row is None else _step(row)


async def _range_of_key(
    database: Database, user_id: UUID, account_id: UUID, key: str
) -> tuple[HistoryPosition, HistoryPosition] | None:
    """The range of the history that the key made: its first position, and the one after it."""
    row = await database.fetch_one(_SQL.get_history_range_of_key, user_id, key)
    if row is None:
        return None
    transaction_id, *batch = row
    if transaction_id is None:
        if batch[0] is None:
            return None
        return HistoryPosition(*batch[:2]), HistoryPosition(*batch[2:])
    only = await transaction(database, transaction_id, account_id)
    if only is None:
        return None
    # A failed one has no entry: the entry of that version is the next transaction's.
    entries_end = only.entry_version + (only.failure_code is None)
    start = HistoryPosition(only.entry_version, only.sequence)
    return start, HistoryPosition(entries_end, only.sequence + 1)


def _step(row: Record) -> AccountTransaction:
    return AccountTransaction(*tuple(row)[: len(AccountTransaction.__slots__)])
