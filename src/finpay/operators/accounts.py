"""Accounts as operators see them: with their owner, and why they were frozen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database
from finpay.ledger import reads

_SQL: Final = queries.load("finpay.operators")
_END: Final = 2**63 - 1  # beyond every sequence: the first page


@dataclass(frozen=True, slots=True)
class OwnedAccount:
    """An account and the id of its owner."""

    account: reads.Account
    user_id: UUID


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A freeze or its end. `operator_id` is None for the command line."""

    sequence: int
    status: str
    reason: str
    operator_id: UUID | None
    created_at: datetime


async def get(database: Database, account_id: UUID) -> OwnedAccount | None:
    """The account of a user; None for system accounts."""
    row = await database.fetch_one(_SQL.get_account, account_id)
    if row is None:
        return None
    *account, user_id = row
    return OwnedAccount(reads.Account(*account), user_id)


async def id_by_email(database: Database, email: str) -> UUID | None:
    """Of the account of the user with a normalised address."""
    row = await database.fetch_one(_SQL.get_account_id_by_email, email)
    return None if row is None else row["id"]


async def status_changes(
    database: Database, account_id: UUID, *, before_sequence: int | None, limit: int
) -> Sequence[StatusChange]:
    """Newest first, at most `limit`."""
    before = _END if before_sequence is None else before_sequence
    rows = await database.fetch(_SQL.list_status_changes, account_id, before, limit)
    return [StatusChange(*row) for row in rows]
