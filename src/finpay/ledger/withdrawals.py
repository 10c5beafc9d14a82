"""Withdrawals as their owner reads them. The ledger makes and changes them: see posting.py."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database
from finpay.ledger.scanned_pages import LAST_ID, ScannedPage, scanned_page

_SQL: Final = queries.load("finpay.ledger", "withdrawals.sql")


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Money to be paid out. `amount` in minor units, `destination` is JSON."""

    id: UUID
    account_id: UUID
    status: str
    amount: int
    currency: str
    destination: str
    description: str | None
    reference: str | None
    reason: str | None
    transaction_id: UUID | None
    created_at: datetime


async def get(database: Database, withdrawal_id: UUID, account_id: UUID) -> Withdrawal | None:
    """One withdrawal of its owner."""
    row = await database.fetch_one(_SQL.get_withdrawal, account_id, withdrawal_id)
    return None if row is None else Withdrawal(*row)


async def page(
    database: Database, account_id: UUID, *, before: UUID | None, status: str | None, limit: int
) -> ScannedPage[Withdrawal]:
    """Newest first, at most `limit`, all before an id."""
    rows = await database.fetch(_SQL.list_withdrawals, account_id, before or LAST_ID, status, limit)
    found = [Withdrawal(*row) for row in rows]
    return await scanned_page(
        database, _SQL.get_scanned_withdrawal, account_id, before, found, limit=limit
    )
