"""A user as the API and its events show one. Every field is always present."""

from typing import Literal

from msgspec import Struct

from finpay import ids
from finpay.formats import Timestamp, format_timestamp
from finpay.identity import models


class User(Struct, frozen=True):
    """Who is logged in."""

    id: str
    object: Literal["user"]
    email: str
    name: str | None
    created_at: Timestamp


def user(known: models.User) -> User:
    return User(
        id=ids.encode("usr", known.id),
        object="user",
        email=known.email,
        name=known.name,
        created_at=format_timestamp(known.created_at),
    )
