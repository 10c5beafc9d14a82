"""Limits of an account: its owner lowers them at once and raises them after a day."""

from typing import Final
from uuid import UUID

from msgspec import Struct

from finpay.db import queries
from finpay.db.pool import Database
from finpay.ledger.reads import Account

APPLY_AT_ONCE: Final = 500  # accounts of one commit

_SQL: Final = queries.load("finpay.ledger")


class Change(Struct, frozen=True):
    """New limits of a user's account; `has_…` is false: that limit stays. None: no limit."""

    user_id: UUID
    request_id: str
    address: str | None
    has_single: bool
    single: int | None
    has_daily: bool
    daily: int | None


async def change(database: Database, wanted: Change) -> Account | str:
    """The account after the change, or the fault: above_ceiling or account_closed."""
    row = await database.fetch_one(
        _SQL.update_limits,
        wanted.user_id,
        wanted.has_single,
        wanted.single,
        wanted.has_daily,
        wanted.daily,
        wanted.request_id,
        wanted.address,
    )
    assert row is not None, "a function with OUT parameters returns one row"  # noqa: S101
    *account, fault = row
    return Account(*account) if fault is None else str(fault)


async def apply_pending(database: Database) -> int:
    """Writes raised limits whose day is over. Returns the number of accounts."""
    total, applied = 0, APPLY_AT_ONCE
    while applied == APPLY_AT_ONCE:
        row = await database.fetch_one(_SQL.update_pending_limits, APPLY_AT_ONCE)
        assert row is not None, "an aggregate returns one row"  # noqa: S101
        applied = row["applied"]
        total += applied
    return total
