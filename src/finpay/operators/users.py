"""Users as operators find them: by e-mail address, or those whose account is frozen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database

_SQL: Final = queries.load("finpay.operators")
LAST: Final = UUID(int=2**128 - 1)  # above every id: the first page


@dataclass(frozen=True, slots=True)
class OperatorUser:
    """A user, with the status of the account. Columns in their order in the queries."""

    id: UUID
    email: str
    name: str | None
    role: str
    account_id: UUID
    status: str
    currency: str
    created_at: datetime
    email_verified: bool
    second_factor: bool


async def page(
    database: Database,
    *,
    before: UUID | None,
    email: str | None,
    status: str | None,
    limit: int,
) -> Sequence[OperatorUser]:
    """Newest first, at most `limit`, all before an id."""
    query = _SQL.list_users if status in {None, "active"} else _SQL.list_users_not_active
    rows = await database.fetch(query, before or LAST, email, status, limit)
    return [OperatorUser(*row) for row in rows]


async def get(database: Database, user_id: UUID) -> OperatorUser | None:
    """One user."""
    row = await database.fetch_one(_SQL.get_user, user_id)
    return None if row is None else OperatorUser(*row)
