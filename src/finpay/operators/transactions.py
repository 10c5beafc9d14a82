"""Transactions, withdrawals and approvals of all users. SQL builds their JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database
from finpay.ledger.withdrawals import Withdrawal

CLOCK_SLACK_MS: Final = 120_000  # ids are made before the commit, by processes whose clocks differ

_SQL: Final = queries.load("finpay.operators")
_LAST: Final = UUID(int=2**128 - 1)  # above every id: the first page
_FIRST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of transactions may be narrowed to; None means everything."""

    type: str | None = None
    status: str | None = None
    currency: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    amount_min: int | None = None
    amount_max: int | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A resource by its id; `answer` is its JSON."""

    id: UUID
    answer: str


@dataclass(frozen=True, slots=True)
class Page:
    """`scanned_to`: the page may be short because no more rows were read than up to here."""

    rows: Sequence[Shown]
    scanned_to: UUID | None = None


async def page(database: Database, *, before: UUID | None, filters: Filters, limit: int) -> Page:
    """Transactions, newest first, at most `limit`, all before an id."""
    below, end = _id_near(filters.created_from, -1), _id_near(filters.created_to, 1)
    bounds = min(before or _LAST, end or _LAST), below or _FIRST
    rows = await database.fetch(
        _SQL.list_transactions,
        *bounds,
        filters.type,
        filters.status,
        filters.currency,
        filters.created_from,
        filters.created_to,
        filters.amount_min,
        filters.amount_max,
        limit,
    )
    found = [Shown(*row) for row in rows]
    if len(found) == limit:
        return Page(found)
    scanned = await database.fetch_one(_SQL.get_scanned_transaction, *bounds)
    if scanned is None:
        return Page(found)
    return Page([row for row in found if row.id >= scanned["id"]], scanned["id"])


async def get(database: Database, transaction_id: UUID) -> str | None:
    """One transaction as JSON."""
    row = await database.fetch_one(_SQL.get_transaction, transaction_id)
    return None if row is None else row["answer"]


async def get_withdrawal(database: Database, withdrawal_id: UUID) -> Withdrawal | None:
    row = await database.fetch_one(_SQL.get_withdrawal, withdrawal_id)
    return None if row is None else Withdrawal(*row)


async def approvals(
    database: Database, *, before: UUID | None, status: str | None, limit: int
) -> Sequence[Shown]:
    """Newest first, at most `limit`, all before an id."""
    rows = await database.fetch(_SQL.list_approvals, before or _LAST, status, limit)
    return [Shown(*row) for row in rows]


async def get_approval(database: Database, approval_id: UUID) -> str | None:
    """One approval as JSON."""
    row = await database.fetch_one(_SQL.get_approval, approval_id)
    return None if row is None else row["answer"]


def _id_near(moment: datetime | None, side: int) -> UUID | None:
    """An id (UUIDv7) before (-1) or after (1) all ids that were made at the moment."""
    if moment is None:
        return None
    milliseconds = int(moment.timestamp() * 1000) + side * CLOCK_SLACK_MS
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)
