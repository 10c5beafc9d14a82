"""Sessions: rotation of their refresh tokens, detection of reuse, revocation.

A refresh token has one successor. It is answered again, with the same successor, until that one or
an access token issued with it was first used, and for REPEAT_S longer: two tabs may send it at
once, and a response may be lost. A later use means that there is a copy, so the session is revoked
(RFC 9700 §4.14.2).
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Executor
from finpay.identity import refresh_tokens
from finpay.identity.access_tokens import Principal, Role, Signer
from finpay.identity.errors import refresh_token_invalid, session_ended
from finpay.identity.models import (
    PasswordChanged,
    RefreshTokenReuse,
    RequestOrigin,
    Session,
    Tokens,
)
from finpay.identity.refresh_tokens import RefreshToken

REPEAT_S: Final = 60  # two tabs of one browser and a slow network differ by less

_SQL: Final = queries.load("finpay.identity")


class Sessions:
    """Refresh, logout and state of existing sessions. `clock` is used for access tokens only."""

    def __init__(
        self,
        database: Database,
        signer: Signer,
        *,
        refresh_ttl_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.refresh_ttl_s = refresh_ttl_s
        self._database = database
        self._signer = signer
        self._clock = clock

    def tokens(
        self,
        user_id: UUID,
        account_id: UUID,
        session_id: UUID,
        refresh: RefreshToken,
        *,
        role: Role = "user",
        factor: bool = False,
        session_ends_in_s: float | None = None,
    ) -> Tokens:
        """A new access token with the refresh token, for the response.

        The access token ends with its session, so the gate has no second clock to look at.
        """
        ttl_s = self._signer.ttl_s
        if session_ends_in_s is not None:
            ttl_s = min(ttl_s, max(1, int(session_ends_in_s)))
        access = self._signer.issue(
            user_id,
            account_id,
            session_id,
            self._clock(),
            generation=refresh.generation,
            role=role,
            factor=factor,
            ttl_s=ttl_s,
        )
        return Tokens(access, refresh.text, ttl_s)

    async def confirm(self, session_id: UUID, user_id: UUID, generation: int) -> bool:
        """Whether this is an active session of this user, as an access token says.

        One read; the first use of a generation is recorded in a second statement.
        """
        row = await self._database.fetch_one(
            _SQL.get_active_session, session_id, user_id, generation
        )
        if row is not None and row["first_use"]:
            await self._database.execute(_SQL.record_first_use, session_id, generation)
        return row is not None

    async def refresh(self, token: str, origin: RequestOrigin) -> Tokens | RefreshTokenReuse:
        """Exchanges a refresh token for its successor and a new access token.

        FinPayError `refresh_token_invalid` if it is unknown or expired, or its session has ended.
        """
        token_hash = refresh_tokens.hash_of(token)
        async with self._database.transaction() as transaction:
            await transaction.fetch_one(_SQL.lock_session_of_refresh_token, token_hash)
            found = await transaction.fetch_one(_SQL.get_refresh_token, token_hash, REPEAT_S)
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
            new = refresh_tokens.successor(found["refresh_key"], token, found["generation"])
            await self._rotate(transaction, session_id, new, found["expires_at"])
            await transaction.execute(
                _SQL.record_refresh, user_id, session_id, origin.request_id, origin.address
            )
        return self.tokens(
            user_id,
            found["account_id"],
            session_id,
            new,
            role=found["role"],
            factor=found["second_factor"],
            session_ends_in_s=found["session_ends_in_s"],
        )

    async def _rotate(
        self, transaction: Executor, session_id: UUID, new: RefreshToken, not_before: datetime
    ) -> None:
        """Stores the successor, and that its predecessor is used by this exchange."""
        await transaction.execute(_SQL.record_first_use, session_id, new.generation - 1)
        await transaction.execute(
            _SQL.insert_successor,
            new.hash,
            session_id,
            new.generation,
            not_before,
            self.refresh_ttl_s,
        )

    async def change_password(
        self, transaction: Executor, principal: Principal, origin: RequestOrigin
    ) -> PasswordChanged:
        """Revokes the user's other sessions, and all refresh tokens of this one."""
        revoked = await revoke_others(transaction, principal, "password_changed", origin)
        session = await transaction.fetch_one(
            _SQL.lock_active_session, principal.session_id, principal.user_id
        )
        if session is None:
            raise session_ended()
        new = RefreshToken.new(1 + max(principal.generation or 0, session["generation"] or 0))
        await transaction.execute(
            _SQL.replace_refresh_tokens,
            principal.session_id,
            new.hash,
            new.generation,
            self.refresh_ttl_s,
        )
        tokens = self.tokens(
            principal.user_id,
            principal.account_id,
            principal.session_id,
            new,
            role=principal.role,
            factor=session["second_factor"],
            session_ends_in_s=session["ends_in_s"],
        )
        return PasswordChanged(tokens, revoked)

    async def list_(self, user_id: UUID, *, before: UUID | None, limit: int) -> list[Session]:
        """Active sessions of a user, newest first."""
        rows = await self._database.fetch(_SQL.list_sessions, user_id, before, limit)
        return [Session(*row) for row in rows]

    async def revoke(
        self, session_id: UUID, user_id: UUID, reason: str, origin: RequestOrigin
    ) -> bool:
        """Whether it was an active session of this user, which is revoked now."""
        async with self._database.transaction() as transaction:
            revoked = await _revoke(transaction, session_id, user_id, reason)
            await record_revoked(transaction, user_id, revoked, reason, origin, actor_id=user_id)
        return bool(revoked)

    async def revoke_others(self, principal: Principal, origin: RequestOrigin) -> list[UUID]:
        """Revokes all sessions of the user but this one, and returns their ids."""
        async with self._database.transaction() as transaction:
            return await revoke_others(transaction, principal, "revoked", origin)


async def revoke_others(
    transaction: Executor, principal: Principal, reason: str, origin: RequestOrigin
) -> list[UUID]:
    """Revokes all sessions of the user but this one, in a transaction of the caller's."""
    user_id = principal.user_id
    rows = await transaction.fetch(
        _SQL.revoke_other_sessions, principal.session_id, user_id, reason
    )
    revoked: list[UUID] = [row["id"] for row in rows]
    await record_revoked(transaction, user_id, revoked, reason, origin, actor_id=user_id)
    return revoked


async def revoke_all(
    transaction: Executor,
    user_id: UUID,
    reason: str,
    origin: RequestOrigin,
    *,
    actor_id: UUID | None,
) -> list[UUID]:
    """Revokes all sessions of a user whom the caller has locked."""
    rows = await transaction.fetch(_SQL.revoke_all_sessions, user_id, reason)
    revoked: list[UUID] = [row["id"] for row in rows]
    await record_revoked(transaction, user_id, revoked, reason, origin, actor_id=actor_id)
    return revoked


async def _revoke_reused(
    transaction: Executor, session_id: UUID, user_id: UUID, origin: RequestOrigin
) -> None:
    reason = "refresh_token_reused"
    revoked = await _revoke(transaction, session_id, user_id, reason)
    # No actor: the client may be the user or a thief.
    await record_revoked(transaction, user_id, revoked, reason, origin, actor_id=None)


async def _revoke(
    transaction: Executor, session_id: UUID, user_id: UUID, reason: str
) -> list[UUID]:
    rows = await transaction.fetch(_SQL.revoke_session, session_id, user_id, reason)
    return [row["id"] for row in rows]


async def record_revoked(
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
