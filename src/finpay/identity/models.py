"""Results of this package, and the origin of a request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """The id of a request and, where known, the address and the User-Agent of its client."""

    request_id: str
    address: str | None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A registered user. Columns of identity.users, in their order in the queries."""

    id: UUID
    email: str
    name: str | None
    email_verified: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """The user's account at the time of the login. Amounts in minor units; `limits` is JSON."""

    id: UUID
    balance: int
    held: int
    currency: str
    status: str
    version: int
    limits: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """An active session. Columns of identity.sessions, in their order in the queries."""

    id: UUID
    device: str | None
    address: str | None
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Tokens:
    """An access token, which expires in `expires_in_s`, and its refresh token."""

    access_token: str
    refresh_token: str
    expires_in_s: int


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user with a new session."""

    user: User
    account: Account
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class PasswordChanged:
    """New tokens of the session that changed the password, and the other sessions, now revoked."""

    tokens: Tokens
    revoked: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class RefreshTokenReuse:
    """A refresh token was used after its successor. Its session is revoked, and committed.

    The caller writes the tombstone of the session, then answers `refresh_token_reused`.
    """

    user_id: UUID
    session_id: UUID
