"""The end of all sessions of a user, by an operator."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database
from finpay.identity import user_lock
from finpay.identity.models import RequestOrigin
from finpay.identity.sessions import revoke_all

_SQL: Final = queries.load("finpay.identity", "operator_sessions.sql")


async def end_all(
    database: Database, user_id: UUID, operator_id: UUID, reason: str, origin: RequestOrigin
) -> Sequence[UUID] | None:
    """The sessions that have ended; None if there is no such user.

    The caller writes their tombstones.
    """
    async with database.transaction() as transaction:
        await user_lock.require_operator(transaction, operator_id)
        if await user_lock.lock(transaction, user_id) is None:
            return None
        request = origin.request_id, origin.address
        await transaction.execute(_SQL.record_end, user_id, operator_id, *request, reason)
        return await revoke_all(transaction, user_id, "revoked", origin, actor_id=operator_id)
