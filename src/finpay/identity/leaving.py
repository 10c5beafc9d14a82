"""Erases what identity has of a person who closes the account.

That is the e-mail address, name, password, devices, API keys, mails and the second factor.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Executor
from finpay.identity import user_lock

_SQL: Final = queries.load("finpay.identity", "leaving.sql")


@dataclass(frozen=True, slots=True)
class Ended:
    """The sessions and API keys that have ended: the caller writes their tombstones."""

    sessions: list[UUID]
    keys: list[UUID]


async def erase(transaction: Executor, user_id: UUID) -> Ended:
    """Erases the user in the caller's transaction, which then closes the account.

    The row of the user stays under its id. FinPayError `unauthenticated` for one who has left.
    """
    user = await user_lock.require(transaction, user_id)
    await transaction.execute(_SQL.insert_closed_email, user["email"])
    sessions = await transaction.fetch(_SQL.end_sessions, user_id)
    await transaction.execute(_SQL.delete_refresh_tokens, user_id)
    keys = await transaction.fetch(_SQL.revoke_api_keys, user_id)
    await transaction.execute(_SQL.delete_mails, user_id)
    await transaction.execute(_SQL.delete_credentials, user_id)
    await transaction.execute(_SQL.update_user, user_id)
    active = [row["id"] for row in sessions if row["was_active"]]
    return Ended(active, [row["id"] for row in keys])


async def forget_emails(database: Database) -> None:
    """Deletes the hashes of addresses that others may register again."""
    await database.execute(_SQL.delete_free_emails)
