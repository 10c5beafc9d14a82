"""Sessions and their refresh tokens: rotation, reuse detection and revocation.

A refresh token is exchanged for a new pair of tokens. Within the grace the old one still works,
because two tabs may send it at once and a response may be lost. After the grace a second use means
that there is a copy, so the session is revoked (RFC 9700 §4.14.2).
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
from finpay.identity.models import RefreshTokenReuse, RequestOrigin, Tokens

REFRESH_TOKEN_BYTES: Final = 32  # can't be guessed, so its SHA-256 needs no salt

_SQL: Final = queries.load("finpay.identity")


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A new refresh token. Only the hash is stored."""

    text: str
    hash: bytes

    @staticmethod
    def new() -> "RefreshToken":
        text = token_urlsafe(REFRESH_TOKEN_BYTES)
        return RefreshToken(text, hash_of(text))


class Sessions:
    """Refresh, logout and state of existing sessions. `clock` is used for access tokens only."""

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
        """A new access token with the refresh token, for the response."""
        access = self._signer.issue(user_id, account_id, session_id, self._clock())
        return Tokens(access, refresh.text, self._signer.ttl_s)

    async def is_active(self, session_id: UUID, user_id: UUID) -> bool:
        """Whether this is an active session of this user. One read."""
        return (
            await self._database.fetch_one(_SQL.is_session_active, session_id, user_id) is not None
        )

    async def refresh(self, token: str, origin: RequestOrigin) -> Tokens | RefreshTokenReuse:
        """Exchanges a refresh token for a new pair.

        FinPayError `refresh_token_invalid` if it is unknown or expired, or its session was revoked.
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
                # Also if the session is revoked: the process that revoked it may have exited before
                # it wrote the tombstone.
                await _revoke_reused(transaction, session_id, user_id, origin)
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
        """Revokes the session. Nothing happens if it is revoked already."""
        user_id = principal.user_id
        async with self._database.transaction() as transaction:
            revoked = await _revoke(transaction, principal.session_id, user_id, "logout")
            await _record(transaction, user_id, revoked, "logout", origin, actor_id=user_id)


async def revoke_others(
    transaction: Executor, principal: Principal, origin: RequestOrigin
) -> list[UUID]:
    """Revokes all other sessions of the user, after a password change. Returns their ids."""
    user_id, reason = principal.user_id, "password_changed"
    rows = await transaction.fetch(
        _SQL.revoke_other_sessions, principal.session_id, user_id, reason
    )
    revoked: list[UUID] = [row["id"] for row in rows]
    await _record(transaction, user_id, revoked, reason, origin, actor_id=user_id)
    return revoked


def hash_of(token: str) -> bytes:
    """The stored hash of a refresh token. Any text has one, lone surrogates included."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def _revoke_reused(
    transaction: Executor, session_id: UUID, user_id: UUID, origin: RequestOrigin
) -> None:
    reason = "refresh_token_reused"
    revoked = await _revoke(transaction, session_id, user_id, reason)
    # No actor: the client may be the user or a thief.
    await _record(transaction, user_id, revoked, reason, origin, actor_id=None)


async def _revoke(
    transaction: Executor, session_id: UUID, user_id: UUID, reason: str
) -> list[UUID]:
    rows = await transaction.fetch(_SQL.revoke_session, session_id, user_id, reason)
    return [row["id"] for row in rows]


async def _record(
    transaction: Executor,
    user_id: UUID,
    revoked: Sequence[UUID],
    reason: str,
    origin: RequestOrigin,
    *,
    actor_id: UUID | None,
) -> None:
    """One audit row and one event for each revoked session.

    In a separate statement, so that all sessions are locked before the account is.
    """
    await transaction.execute(
        _SQL.record_revoked_sessions,
        user_id,
        revoked,
        actor_id,
        origin.request_id,
        origin.address,
        reason,
    )
