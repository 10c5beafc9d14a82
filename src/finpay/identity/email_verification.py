"""Verification of e-mail addresses: a mail with a link, and the token of its link."""

import hashlib
from typing import Final
from uuid import UUID

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database
from finpay.identity import user_lock
from finpay.identity.errors import token_invalid
from finpay.identity.models import RequestOrigin

MAX_MAILS_PER_HOUR: Final = 3

_SQL: Final = queries.load("finpay.identity", "email_verification.sql")


class EmailVerification:
    """Requests a mail, and redeems the token of its link."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(self, user_id: UUID, origin: RequestOrigin) -> None:
        """A mail, unless the address is verified or 3 were sent within an hour."""
        async with self._database.transaction() as transaction:
            await user_lock.require(transaction, user_id)
            await transaction.execute(
                _SQL.insert_verification_mail,
                user_id,
                origin.request_id,
                origin.address,
                MAX_MAILS_PER_HOUR,
                ids.new_uuid(),
            )

    async def redeem(self, token: str, origin: RequestOrigin) -> None:
        """The user's address is verified. FinPayError `token_invalid`."""
        token_hash = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = await self._database.fetch_one(_SQL.get_verification_token, token_hash)
        if found is None:
            raise token_invalid()
        async with self._database.transaction() as transaction:
            await user_lock.lock(transaction, found["user_id"])
            user = await transaction.fetch_one(_SQL.set_email_verified, token_hash)
            if user is None:
                raise token_invalid()
            await transaction.execute(
                _SQL.record_verification, user["id"], origin.request_id, origin.address
            )
