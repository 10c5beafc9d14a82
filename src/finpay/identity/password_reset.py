"""Forgotten passwords: a mail with a link, and the new password that its token allows.

The first proof that an address is the user's also ends all access that was set up before it:
another person may have registered the address, and their API keys would outlive the password.

A second factor stays: access to the user's mails is not enough to log in.

Nothing reveals whether an e-mail address is registered: answer, work and time are the same.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Executor
from finpay.errors import validation_failed
from finpay.identity import api_keys, passwords, user_lock
from finpay.identity.breached_passwords import BreachedPasswords
from finpay.identity.errors import token_invalid
from finpay.identity.models import RequestOrigin
from finpay.identity.passwords import Hasher
from finpay.identity.sessions import revoke_all

MAX_MAILS_PER_HOUR: Final = 3

_SQL: Final = queries.load("finpay.identity", "password_reset.sql")


# Ends what the user set up in other packages: in the transaction, before the account is locked.
EndAccess = Callable[[Executor, UUID], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ended:
    """The sessions and API keys that a reset ended: the caller writes their tombstones."""

    user_id: UUID
    sessions: list[UUID]
    keys: list[UUID]


class PasswordReset:
    """Requests a mail, and redeems the token of its link."""

    def __init__(self, database: Database, hasher: Hasher, breached: BreachedPasswords) -> None:
        self._database = database
        self._breached = breached
        self._hasher = hasher

    async def request(self, email: str, origin: RequestOrigin) -> None:
        """A mail to the user, if there is one and fewer than 3 were sent within an hour."""
        async with self._database.transaction() as transaction:
            known = await transaction.fetch_one(_SQL.lock_user_by_email, email)
            await transaction.execute(
                _SQL.insert_reset_mail,
                known and known["id"],
                origin.request_id,
                origin.address,
                MAX_MAILS_PER_HOUR,
                ids.new_uuid(),
            )

    async def redeem(
        self, token: str, new_password: str, origin: RequestOrigin, end_access: EndAccess
    ) -> Ended:
        """Sets the password and ends all sessions. If the address was not verified before, ends API
        keys too, and calls `end_access`.

        FinPayError `token_invalid` for a token that is unknown, expired or used,
        `validation_failed` for a weak password, which does not use up the token.
        """
        token_hash = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        user = await self._database.fetch_one(_SQL.get_reset_token, token_hash)
        if user is None:
            raise token_invalid()
        user_id = user["user_id"]
        reason = passwords.weakness(new_password, email=user["email"], name=user["name"])
        if reason is not None:
            raise validation_failed(reason, pointer="#/new_password")
        self._breached.check(new_password, "#/new_password")
        password_hash = await self._hasher.hash(new_password)
        async with self._database.transaction() as transaction:
            locked = await user_lock.lock(transaction, user_id)
            await _cancel_mails(transaction, user_id)
            used = await transaction.fetch_one(_SQL.set_token_used, token_hash)
            if locked is None or used is None:
                raise token_invalid()
            await void_tokens(transaction, user_id)
            # Before the password: to verify the address locks the account, as the last of all.
            ended = await revoke_all(transaction, user_id, "password_reset", origin, actor_id=None)
            keys = []
            if not locked["email_verified"]:
                keys = await api_keys.revoke_all(transaction, user_id, origin)
                await end_access(transaction, user_id)
            await transaction.execute(_SQL.set_password_hash, user_id, password_hash)
            await transaction.execute(
                _SQL.record_reset, user_id, origin.request_id, origin.address, ids.new_uuid()
            )
        return Ended(user_id, ended, keys)


async def void_tokens(transaction: Executor, user_id: UUID) -> None:
    """Ends what mails about a forgotten password allow, those that wait to be sent too."""
    await _cancel_mails(transaction, user_id)
    await transaction.execute(_SQL.delete_reset_tokens, user_id)


async def _cancel_mails(transaction: Executor, user_id: UUID) -> None:
    """Before their tokens are locked: a worker locks a mail, and then replaces its token."""
    await transaction.execute(_SQL.cancel_reset_mails, user_id)
