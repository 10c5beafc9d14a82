"""An event as the API returns it and as a webhook delivers it: the same bytes."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from finpay.formats import Timestamp


class EventData(Struct, frozen=True):
    """The object right after the event, and the members that it changed, as they were before."""

    object: Annotated[
        Any, Meta(description="The resource, as the API shows it to the account's owner.")
    ]
    previous: Annotated[
        dict[str, Any],
        Meta(description="Changed members with their earlier values; empty for a new object."),
    ]


class EventRequest(Struct, frozen=True):
    """The request that caused the event, with its idempotency key if it moved money."""

    id: str
    idempotency_key: str | None


class Event(Struct, frozen=True):
    """A change of an account. `sequence` has no gaps."""

    id: Annotated[str, Meta(pattern="^evt_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    object: Literal["event"]
    type: Annotated[str, Meta(examples=["transaction.completed"])]
    created_at: Timestamp
    sequence: Annotated[int, Meta(ge=1, description="Counts the account's events: 1, 2, 3, …")]
    data: EventData
    request: Annotated[
        EventRequest | None, Meta(description="Null unless the account's owner caused the event.")
    ]
    actor: Annotated[
        str | None,
        Meta(description="The user (`usr_…`), if the account's owner caused the event."),
    ]


class Session(Struct, frozen=True):
    """A revoked session, with the reason."""

    id: str
    object: Literal["session"]
    created_at: Timestamp
    ended_at: Timestamp | None
    reason: (
        Literal[
            "logout",
            "password_changed",
            "password_reset",
            "refresh_token_reused",
            "revoked",
            "role_changed",
        ]
        | None
    )


class WebhookEndpoint(Struct, frozen=True):
    """An endpoint for webhooks, without its secret."""

    id: str
    object: Literal["webhook_endpoint"]
    url: str
    description: str | None
    event_types: list[str]
    enabled: bool
    disabled_reason: str | None
    created_at: Timestamp
