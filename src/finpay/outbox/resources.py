"""An event as the API answers it and as a webhook delivers it: the same bytes."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from finpay.formats import Timestamp


class EventData(Struct, frozen=True):
    """What the event is about, as it was right after it; what differed before."""

    object: Annotated[
        Any, Meta(description="The subject, as the API shows it to the account's owner.")
    ]
    previous: Annotated[
        dict[str, Any],
        Meta(description="Members of the object that changed, as they were; empty for a new one."),
    ]


class EventRequest(Struct, frozen=True):
    """The request that caused the event; its key where it moved money."""

    id: str
    idempotency_key: str | None


class Event(Struct, frozen=True):
    """Something that happened to an account. Its `sequence` has no holes."""

    id: Annotated[str, Meta(pattern="^evt_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    object: Literal["event"]
    type: Annotated[str, Meta(examples=["transaction.completed"])]
    created_at: Timestamp
    sequence: Annotated[int, Meta(ge=1, description="The account's own count: 1, 2, 3, …")]
    data: EventData
    request: Annotated[
        EventRequest | None, Meta(description="Null for whoever did not cause the event.")
    ]
    actor: Annotated[
        str | None,
        Meta(description="The user (`usr_…`) who caused it; null for whoever did not."),
    ]


class Session(Struct, frozen=True):
    """A login that ended, and why."""

    id: str
    object: Literal["session"]
    created_at: Timestamp
    ended_at: Timestamp | None
    reason: Literal["logout", "password_changed", "refresh_token_reused"] | None


class WebhookEndpoint(Struct, frozen=True):
    """Where events are delivered to. Without its secret."""

    id: str
    object: Literal["webhook_endpoint"]
    url: str
    description: str | None
    event_types: list[str]
    enabled: bool
    disabled_reason: str | None
    created_at: Timestamp
