"""The end of all sessions of a user, by an operator."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database
from finpay.identity.models import RequestOrigin
from finpay.identity.sessions import record_revoked

_SQL: Final = queries.load("finpay.identity", "operator_sessions.sql")


async def end_all(
    database: Database, user_id: UUID, operator_id: UUID, reason: str, origin: RequestOrigin
) -> Sequence[UUID] | None:
    """The sessions that have ended; None if there is no such user.

    The caller writes their tombstones.
    """
    async with database.transaction() as transaction:
        if await transaction.fetch_one(_SQL.lock_user, user_id) is None:
            return None
        rows = await transaction.fetch(_SQL.revoke_all_sessions, user_id)
        ended: list[UUID] = [row["id"] for row in rows]
        request = origin.request_id, origin.address
        await transaction.execute(_SQL.record_end, user_id, operator_id, *request, reason)
        await record_revoked(transaction, user_id, ended, "revoked", origin, actor_id=operator_id)
    return ended
