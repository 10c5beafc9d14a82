"""Sessions and their refresh tokens: how long a login lasts, and what ends it.

A refresh token is exchanged for a new pair and is then old. Within the grace it still works,
because two tabs may send it at once and an answer may be lost. Later it can only be a copy, so the
session ends, whoever holds the good one (RFC 9700 §4.14.2).
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Executor
from finpay.identity.access_tokens import Principal, Signer
from finpay.identity.errors import refresh_token_invalid
from finpay.identity.models import RefreshTokenReuse, Tokens
from finpay.identity.origin import RequestOrigin

REFRESH_TOKEN_BYTES: Final = 32  # 256 random bits: nobody guesses one, and a plain hash hides it

_SQL: Final = queries.load("finpay.identity")


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One that was just made. Only its hash is kept."""

    text: str
    hash: bytes

    @staticmethod
    def new() -> "RefreshToken":
        text = token_urlsafe(REFRESH_TOKEN_BYTES)
        return RefreshToken(text, hash_of(text))


class Sessions:
    """What happens to a session after it was opened. `clock` is for access tokens only."""

    def __init__(
        self,
        database: Database,
        signer: Signer,
        *,
        refresh_ttl_s: int,
        refresh_grace_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.refresh_ttl_s = refresh_ttl_s
        self._database = database
        self._signer = signer
        self._refresh_grace_s = refresh_grace_s
        self._clock = clock

    def tokens(
        self, user_id: UUID, account_id: UUID, session_id: UUID, refresh: RefreshToken
    ) -> Tokens:
        """The pair that a client gets."""
        access = self._signer.issue(user_id, account_id, session_id, self._clock())
        return Tokens(access, refresh.text, self._signer.ttl_s)

    async def is_active(self, session_id: UUID, user_id: UUID) -> bool:
        """Whether this is a session of this user that has not ended. One read."""
        return (
            await self._database.fetch_one(_SQL.is_session_active, session_id, user_id) is not None
        )

    async def refresh(self, token: str, origin: RequestOrigin) -> Tokens | RefreshTokenReuse:
        """A new pair for a refresh token.

        FinPayError `refresh_token_invalid` if it is unknown or expired, or its session ended.
        """
        old_hash = hash_of(token)
        async with self._database.transaction() as transaction:
            found = await transaction.fetch_one(
                _SQL.lock_refresh_token, old_hash, self._refresh_grace_s
            )
            if found is None or found["expired"]:
                raise refresh_token_invalid()
            user_id, session_id = found["user_id"], found["session_id"]
            if found["reused"]:
                # Also when it had ended: the first to see it may have died before telling the gate.
                await _end_reused(transaction, session_id, user_id, origin)
                return RefreshTokenReuse(user_id, session_id)
            if found["ended"]:
                raise refresh_token_invalid()
            new = RefreshToken.new()
            await transaction.execute(
                _SQL.rotate_refresh_token,
                old_hash,
                new.hash,
                self.refresh_ttl_s,
                user_id,
                origin.request_id,
                origin.address,
            )
        return self.tokens(user_id, found["account_id"], session_id, new)

    async def logout(self, principal: Principal, origin: RequestOrigin) -> None:
        """Ends the session. It may have ended already."""
        user_id = principal.user_id
        async with self._database.transaction() as transaction:
            ended = await _end(transaction, principal.session_id, user_id, "logout")
            await _record(transaction, user_id, ended, "logout", origin, actor_id=user_id)


async def revoke_others(
    transaction: Executor, principal: Principal, origin: RequestOrigin
) -> list[UUID]:
    """Ends all sessions of the user but the principal's own, for a password change."""
    user_id, reason = principal.user_id, "password_changed"
    rows = await transaction.fetch(
        _SQL.revoke_other_sessions, principal.session_id, user_id, reason
    )
    ended: list[UUID] = [row["id"] for row in rows]
    await _record(transaction, user_id, ended, reason, origin, actor_id=user_id)
    return ended


def hash_of(token: str) -> bytes:
    """Under what a refresh token is kept. Any text has a hash, hostile ones too."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def _end_reused(
    transaction: Executor, session_id: UUID, user_id: UUID, origin: RequestOrigin
) -> None:
    reason = "refresh_token_reused"
    ended = await _end(transaction, session_id, user_id, reason)
    # No actor: who holds an old token is just what nobody knows.
    await _record(transaction, user_id, ended, reason, origin, actor_id=None)


async def _end(transaction: Executor, session_id: UUID, user_id: UUID, reason: str) -> list[UUID]:
    rows = await transaction.fetch(_SQL.revoke_session, session_id, user_id, reason)
    return [row["id"] for row in rows]


async def _record(
    transaction: Executor,
    user_id: UUID,
    ended: Sequence[UUID],
    reason: str,
    origin: RequestOrigin,
    *,
    actor_id: UUID | None,
) -> None:
    """One audit row and one event for each session that ended.

    A statement of its own: sessions are locked first, all of them, and the account last.
    """
    await transaction.execute(
        _SQL.record_revoked_sessions,
        user_id,
        ended,
        actor_id,
        origin.request_id,
        origin.address,
        reason,
    )
