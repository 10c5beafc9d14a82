"""Schemas of sessions and API keys."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from finpay import ids
from finpay.formats import Timestamp, format_timestamp
from finpay.identity import models


class ActiveSession(Struct, frozen=True):
    """A login whose tokens are valid. `device` and `address` are those of the login."""

    id: str
    object: Literal["session"]
    device: Annotated[str | None, Meta(description="User-Agent of the login.")]
    address: str | None
    created_at: Timestamp
    last_seen_at: Annotated[
        Timestamp, Meta(description="As of the last refresh: up to 15 minutes old.")
    ]
    expires_at: Annotated[Timestamp, Meta(description="90 days after the login.")]
    current: Annotated[bool, Meta(description="Whether it is the session of this request.")]


class ActiveSessionList(Struct, frozen=True):
    """One page of active sessions."""

    object: Literal["list"]
    data: list[ActiveSession]
    has_more: bool
    next_cursor: str | None


def active_session(row: models.Session, *, current: UUID) -> ActiveSession:
    return ActiveSession(
        id=ids.encode("ses", row.id),
        object="session",
        device=row.device,
        address=row.address,
        created_at=format_timestamp(row.created_at),
        last_seen_at=format_timestamp(row.seen_at),
        expires_at=format_timestamp(row.expires_at),
        current=row.id == current,
    )
