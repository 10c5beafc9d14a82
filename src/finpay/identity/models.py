"""What this package answers with."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in."""

    id: UUID
    email: str
    name: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """The user's account as it was at the login. Amounts in minor units."""

    id: UUID
    balance: int
    held: int
    currency: str
    status: str
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Tokens:
    """A working pair. `expires_in_s` is the access token's."""

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
class RefreshTokenReuse:
    """A refresh token came back too late, and its session has ended for it: committed.

    The caller tells the gate that the session ended, then answers `refresh_token_reused`.
    """

    user_id: UUID
    session_id: UUID
