"""Holds as one of their parties reads them, and their expiry. The ledger makes and changes them:
see posting.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database

EXPIRE_AT_ONCE: Final = 500  # rows of one commit, which holds the locks of their accounts

_SQL: Final = queries.load("finpay.ledger", "holds.sql")
_LAST: Final = UUID(int=2**128 - 1)  # above every id: the first page


@dataclass(frozen=True, slots=True)
class Hold:
    """Money reserved by the sender for the receiver. Amounts in minor units."""

    id: UUID
    sender_id: UUID
    receiver_id: UUID
    amount: int
    captured_amount: int
    status: str
    currency: str
    description: str | None
    metadata: str
    expires_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list; None: all holds."""

    direction: str | None = None
    status: str | None = None
    counterparty_id: UUID | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


async def get(database: Database, hold_id: UUID, account_id: UUID) -> Hold | None:
    """One hold for one of its parties; None for all others."""
    row = await database.fetch_one(_SQL.get_hold, account_id, hold_id)
    return None if row is None else Hold(*row)


async def page(
    database: Database, account_id: UUID, *, before: UUID | None, filters: Filters, limit: int
) -> Sequence[Hold]:
    """Newest first, at most `limit`, all before an id."""
    rows = await database.fetch(
        _SQL.list_holds,
        account_id,
        before or _LAST,
        filters.direction,
        filters.status,
        filters.counterparty_id,
        filters.created_from,
        filters.created_to,
        limit,
    )
    return [Hold(*row) for row in rows]


async def expire(database: Database, wake: Callable[[], None]) -> int:
    """Expires what is due, in commits of their own. Returns the number of rows: a hold has two.

    `wake` is called after a commit that left webhooks to deliver.
    """
    total = 0
    while True:
        row = await database.fetch_one(_SQL.expire_holds, EXPIRE_AT_ONCE)
        assert row is not None, "a function with OUT parameters returns one row"  # noqa: S101
        if row["queued"]:
            wake()
        if not row["expired"]:
            return total
        total += row["expired"]
