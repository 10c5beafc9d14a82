"""Schemas of webhook endpoints and deliveries, in requests and in responses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from finpay import ids
from finpay.edge.request.query_params import parse_time
from finpay.edge.schemas.fields import Description, check_description
from finpay.errors import validation_failed
from finpay.formats import Timestamp, format_timestamp
from finpay.outbox.event_types import matching
from finpay.webhooks import deliveries, endpoints

MAX_OVERLAP_S: Final = 604_800  # one week

Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2_048,
        description="Where events are POSTed to: https in production, no user name, no fragment.",
        examples=["https://example.com/finpay"],
    ),
]
EventTypes = Annotated[
    list[Annotated[str, Meta(max_length=64, examples=["transaction.*"])]],
    Meta(
        min_length=1,
        max_length=64,
        description="Types, groups such as `transaction.*`, or `*` for all.",
    ),
]
_Moment = Annotated[
    str,
    Meta(max_length=64, description="RFC 3339.", examples=["2026-01-31T12:00:00Z"]),
]


class WebhookEndpointCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """A new webhook endpoint."""

    url: Url
    event_types: EventTypes
    description: Description | None = None
    enabled: bool = True

    def checked(self) -> "WebhookEndpointCreate":
        check_description(self.description)
        return msgspec.structs.replace(self, event_types=_known(self.event_types))


class WebhookEndpointUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """Members to change (RFC 7396): others stay as they are, null clears the description."""

    url: Url | UnsetType = UNSET
    event_types: EventTypes | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET

    def checked(self) -> "WebhookEndpointUpdate":
        if isinstance(self.description, str):
            check_description(self.description)
        if self.event_types is UNSET:
            return self
        return msgspec.structs.replace(self, event_types=_known(self.event_types))


class SecretRotation(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the previous secret signs in addition to the new one."""

    overlap_s: (
        Annotated[int, Meta(ge=0, le=MAX_OVERLAP_S, description="Seconds; 24 hours by default.")]
        | None
    ) = None

    def checked(self) -> "SecretRotation":
        return self


class ReplayCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """The events to redeliver: all of a time range, or those whose delivery failed."""

    since: Annotated[_Moment, Meta(description="Inclusive: when the event was created.")]
    until: Annotated[_Moment, Meta(description="Exclusive; now by default.")] | None = None
    only_failed: bool = False

    def checked(self) -> "ReplayCommand":
        since = _time(self.since, "#/since")
        until = None if self.until is None else _time(self.until, "#/until")
        if until is not None and until <= since:
            raise validation_failed("until has to be later than since.", pointer="#/until")
        return ReplayCommand(since, until, self.only_failed)


class ReplayCommand(Struct, frozen=True):
    """A checked ReplayCreate."""

    since: datetime
    until: datetime | None
    only_failed: bool


class WebhookEndpoint(Struct, frozen=True):
    """An endpoint that receives events. `secret` is shown once: when it is new."""

    id: str
    object: Literal["webhook_endpoint"]
    url: str
    description: str | None
    event_types: list[str]
    enabled: bool
    disabled_reason: Annotated[
        Literal["owner", "gone", "failing"] | None,
        Meta(
            description="owner: by its owner. gone: by FinPay, after an answer of 410. failing: by "
            "FinPay, because every attempt of five days failed."
        ),
    ]
    disabled_at: Timestamp | None
    failing_since: Annotated[
        Timestamp | None,
        Meta(description="The first failure since the last success; null if the last succeeded."),
    ]
    created_at: Timestamp
    updated_at: Timestamp
    secret: Annotated[
        str | None,
        Meta(description="`whsec_…` in the responses that create or rotate it; null in others."),
    ]
    previous_secret_expires_at: Annotated[
        Timestamp | None, Meta(description="Until then an older secret signs too.")
    ]


class WebhookEndpointList(Struct, frozen=True):
    """One page of webhook endpoints."""

    object: Literal["list"]
    data: list[WebhookEndpoint]
    has_more: bool
    next_cursor: str | None


class DeliveryAttempt(Struct, frozen=True):
    """One call of the endpoint."""

    number: int
    started_at: Timestamp
    duration_ms: int
    http_status: Annotated[int | None, Meta(description="Null without an HTTP response.")]
    error: Annotated[
        str | None,
        Meta(description="The name of the failure; null after a success.", examples=["timeout"]),
    ]
    answer: Annotated[
        str | None, Meta(description="The first 2 kB of the response's body, as text.")
    ]


class Delivery(Struct, frozen=True):
    """One event on its way to one endpoint. A list shows the last 10 attempts of each."""

    id: str
    object: Literal["delivery"]
    endpoint_id: str
    event_id: str
    event_type: str
    status: Literal["pending", "delivered", "failed", "canceled"]
    attempt_count: int
    next_attempt_at: Annotated[Timestamp | None, Meta(description="Null unless it is pending.")]
    created_at: Timestamp
    finished_at: Timestamp | None
    attempts: Annotated[list[DeliveryAttempt], Meta(description="In order; the last 200 at most.")]


class DeliveryList(Struct, frozen=True):
    """One page of deliveries."""

    object: Literal["list"]
    data: list[Delivery]
    has_more: bool
    next_cursor: str | None


class ReplayResult(Struct, frozen=True):
    """The number of deliveries that were queued."""

    object: Literal["replay"]
    queued: int


def webhook_endpoint(endpoint: endpoints.Endpoint, secret: str | None = None) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=ids.encode("whe", endpoint.id),
        object="webhook_endpoint",
        url=endpoint.url,
        description=endpoint.description,
        event_types=list(endpoint.event_types),
        enabled=endpoint.enabled,
        disabled_reason=endpoint.disabled_reason,
        disabled_at=_optional_time(endpoint.disabled_at),
        failing_since=_optional_time(endpoint.first_failing_at),
        created_at=format_timestamp(endpoint.created_at),
        updated_at=format_timestamp(endpoint.updated_at),
        secret=secret,
        previous_secret_expires_at=_optional_time(endpoint.overlap_until),
    )


def delivery(row: deliveries.Delivery) -> Delivery:
    return Delivery(
        id=ids.encode("whd", row.id),
        object="delivery",
        endpoint_id=ids.encode("whe", row.endpoint_id),
        event_id=row.event_id,
        event_type=row.event_type,
        status=row.status,
        attempt_count=row.attempt_count,
        next_attempt_at=_optional_time(row.next_attempt_at),
        created_at=format_timestamp(row.created_at),
        finished_at=_optional_time(row.finished_at),
        attempts=[
            DeliveryAttempt(
                number=attempt.number,
                started_at=format_timestamp(attempt.started_at),
                duration_ms=attempt.duration_ms,
                http_status=attempt.http_status,
                error=attempt.error,
                answer=attempt.answer,
            )
            for attempt in row.attempts
        ],
    )


def _known(patterns: Sequence[str]) -> list[str]:
    """Each pattern once. 422 names the first that matches no type of event."""
    for index, pattern in enumerate(patterns):
        try:
            matching(pattern)
        except ValueError as error:
            raise validation_failed(str(error), pointer=f"#/event_types/{index}") from None
    return list(dict.fromkeys(patterns))


def _time(text: str, pointer: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise validation_failed(str(error), pointer=pointer) from None


def _optional_time(moment: datetime | None) -> str | None:
    return None if moment is None else format_timestamp(moment)
