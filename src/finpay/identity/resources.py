"""The user resource of the API and of events. Every field is always present."""

from typing import Literal

from msgspec import Struct

from finpay import ids
from finpay.formats import Timestamp, format_timestamp
from finpay.identity import models


class User(Struct, frozen=True):
    """A user."""

    id: str
    object: Literal["user"]
    email: str
    name: str | None
    email_verified: bool
    created_at: Timestamp


def user(row: models.User) -> User:
    return User(
        id=ids.encode("usr", row.id),
        object="user",
        email=row.email,
        name=row.name,
        email_verified=row.email_verified,
        created_at=format_timestamp(row.created_at),
    )
