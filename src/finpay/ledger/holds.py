"""Holds as one of their parties reads them, and their expiry. The ledger makes and changes them:
see posting.py.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final, TypeAlias
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.ledger.scanned_pages import LAST_ID, ScannedPage, scanned_page

# Rows of one commit, which locks their accounts: the payments of an account with more rows than
# OF_ONE wait for a commit of so many of them alone; other accounts share a commit.
OF_ONE: Final = 64
TOGETHER: Final = 128
AT_ONCE: Final = 1_000  # rows that are due, read at once

_SQL: Final = queries.load("finpay.ledger", "holds.sql")

Key: TypeAlias = tuple[UUID, UUID]  # of a row: its account, and the hold


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
) -> ScannedPage[Hold]:
    """Newest first, at most `limit`, all before an id."""
    rows = await database.fetch(
        _SQL.list_holds,
        account_id,
        before or LAST_ID,
        filters.direction,
        filters.status,
        filters.counterparty_id,
        filters.created_from,
        filters.created_to,
        limit,
    )
    found = [Hold(*row) for row in rows]
    return await scanned_page(
        database, _SQL.get_scanned_hold, account_id, before, found, limit=limit
    )


async def expire(database: Database, wake: Callable[[], None]) -> int:
    """Expires what is due, in commits of their own. Returns the number of rows: a hold has two.

    `wake` is called after a commit that left webhooks to deliver.
    """
    total = 0
    keys, last = await _list_due(database, None)
    while last is not None:
        expired = 0
        for commit in commits_of(keys):
            expired += await _expire(database, commit, wake)
        if keys and not expired:  # another worker is faster
            break
        total += expired
        keys, last = await _list_due(database, last)
    return total


async def _list_due(database: Database, after: Record | None) -> tuple[list[Key], Record | None]:
    """Open rows among the next that are due after a key, and the key of the last; None: no row."""
    row = await database.fetch_one(_SQL.list_due_holds, AT_ONCE, after)
    assert row is not None, "a function with OUT parameters returns one row"  # noqa: S101
    return list(zip(row["account_ids"] or (), row["ids"] or (), strict=True)), row["last"]


async def _expire(database: Database, keys: Sequence[Key], wake: Callable[[], None]) -> int:
    row = await database.fetch_one(
        _SQL.expire_holds, [account for account, _ in keys], [hold for _, hold in keys]
    )
    assert row is not None, "a function with OUT parameters returns one row"  # noqa: S101
    if row["queued"]:
        wake()
    expired: int = row["expired"]
    return expired


def commits_of(due: Sequence[Key]) -> list[Sequence[Key]]:
    """The rows of each commit.

    Those of an account with many are spread evenly over all commits, so that its payments find its
    lock free in between; the order of an account's rows stays.
    """
    by_account: dict[UUID, list[Key]] = {}
    for key in due:
        by_account.setdefault(key[0], []).append(key)
    shared = [key for keys in by_account.values() if len(keys) <= TOGETHER for key in keys]
    parts = [_parts(shared, TOGETHER)]
    parts += [_parts(keys, OF_ONE) for keys in by_account.values() if len(keys) > TOGETHER]
    placed = [
        ((number + random.random()) / len(commits), keys)  # noqa: S311  no secret
        for commits in parts
        for number, keys in enumerate(commits)
    ]
    return [keys for _, keys in sorted(placed, key=itemgetter(0))]


def _parts(keys: Sequence[Key], size: int) -> list[Sequence[Key]]:
    return [keys[first : first + size] for first in range(0, len(keys), size)]
