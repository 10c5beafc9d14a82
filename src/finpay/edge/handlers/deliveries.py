"""Handlers of deliveries: what became of each event on its way to an endpoint, and once more."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from finpay import ids
from finpay.edge.handlers.webhook_endpoints import endpoint_id, moment, no_endpoint
from finpay.edge.request import query_params
from finpay.edge.request.model import Context, Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError, validation_failed
from finpay.formats import Timestamp, format_timestamp
from finpay.webhooks import deliveries, endpoints, redelivery

_Moment = Annotated[
    str,
    Meta(max_length=64, description="RFC 3339.", examples=["2026-01-31T12:00:00Z"]),
]


class Replay(Struct, frozen=True, forbid_unknown_fields=True):
    """Which events to send once more: of a time, or only those of it that failed."""

    since: Annotated[_Moment, Meta(description="Inclusive: when the event happened.")]
    until: Annotated[_Moment, Meta(description="Exclusive; now unless told.")] | None = None
    only_failed: bool = False

    def checked(self) -> "ReplayCommand":
        since = _time(self.since, "#/since")
        until = None if self.until is None else _time(self.until, "#/until")
        if until is not None and until <= since:
            raise validation_failed("until has to be later than since.", pointer="#/until")
        return ReplayCommand(since, until, self.only_failed)


class ReplayCommand(Struct, frozen=True):
    """A checked Replay."""

    since: datetime
    until: datetime | None
    only_failed: bool


class Replayed(Struct, frozen=True):
    """How many deliveries were queued."""

    object: Literal["replay"]
    queued: int


class Attempt(Struct, frozen=True):
    """One call of the endpoint."""

    number: int
    started_at: Timestamp
    duration_ms: int
    http_status: Annotated[int | None, Meta(description="Null: there was no answer.")]
    error: Annotated[
        str | None,
        Meta(description="Why it failed, by name; null: it didn't.", examples=["timeout"]),
    ]
    answer: Annotated[str | None, Meta(description="The first 2 kB of the answer's body, as text.")]


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
    attempts: Annotated[list[Attempt], Meta(description="In order; the last 200 at most.")]


class DeliveryList(Struct, frozen=True):
    """One page of deliveries."""

    object: Literal["list"]
    data: list[Delivery]
    has_more: bool
    next_cursor: str | None


STATUS: Final = query_params.one_of(*deliveries.STATUSES)


async def page(services: Services, call: Context) -> Response:
    """The endpoint's deliveries, newest first."""
    parameters = call.parameters
    limit = parameters.get("limit", query_params.DEFAULT_LIMIT)
    endpoint = await _endpoint(services, call)
    before = parameters.get("cursor")
    found = await deliveries.page(
        services.database,
        endpoint,
        status=parameters.get("status"),
        before=None if before is None else query_params.position_to_uuid(before),
        limit=limit + 1,
    )
    data = found[:limit]
    cursor = None
    if len(found) > limit:
        cursor = query_params.DELIVERIES.write(
            call.caller.account_id, *query_params.uuid_to_position(data[-1].id)
        )
    body = responses.page(DeliveryList, [_shown(delivery) for delivery in data], cursor)
    path = call.path.replace("{id}", call.path_id)
    return Response(200, body, headers=query_params.link(path, call.query, cursor))


async def one(services: Services, call: Context) -> Response:
    """404 alike for what does not exist and for what belongs to others."""
    return await _reply(services, call, _delivery_id(call), 200)


async def retry(services: Services, call: Context) -> Response:
    """The delivery, pending again. 422 if its endpoint is disabled."""
    delivery = _delivery_id(call)
    if not await redelivery.retry(services.database, call.caller.user_id, delivery):
        raise _no_delivery()
    services.waker.wake()
    return await _reply(services, call, delivery, 200)


async def ping(services: Services, call: Context) -> Response:
    """201 with the delivery of an event that only says hello. 422 for a disabled endpoint."""
    delivery = await redelivery.ping(
        services.database, call.caller.user_id, endpoint_id(call), call.request_id
    )
    if delivery is None:
        raise no_endpoint()
    services.waker.wake()
    return await _reply(services, call, delivery, 201)


async def replay(services: Services, call: Context) -> Response:
    """How many deliveries were queued. 422 if the endpoint is disabled."""
    command: ReplayCommand = call.command
    queued = await redelivery.replay(
        services.database,
        call.caller.user_id,
        endpoint_id(call),
        redelivery.ReplayRange(command.since, command.until, command.only_failed),
    )
    if queued is None:
        raise no_endpoint()
    services.waker.wake()
    return Response(200, responses.encode(Replayed("replay", queued)))


def _delivery_id(call: Context) -> UUID:
    """The id in the path. 404 for one that is none."""
    return call.uuid_in_path("whd", _no_delivery())


async def _reply(services: Services, call: Context, delivery: UUID, status: int) -> Response:
    found = await deliveries.one(services.database, call.caller.user_id, delivery)
    if found is None:
        raise _no_delivery()
    return Response(status, responses.encode(_shown(found)))


async def _endpoint(services: Services, call: Context) -> UUID:
    """The id of an endpoint that is the caller's. 404 for everybody else's."""
    found = await endpoints.one(services.database, call.caller.user_id, endpoint_id(call))
    if found is None:
        raise no_endpoint()
    return found.id


def _no_delivery() -> FinPayError:
    return FinPayError(Code.NOT_FOUND, "You have no delivery with this id.")


def _shown(delivery: deliveries.Delivery) -> Delivery:
    return Delivery(
        id=ids.encode("whd", delivery.id),
        object="delivery",
        endpoint_id=ids.encode("whe", delivery.endpoint_id),
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        status=delivery.status,
        attempt_count=delivery.attempt_count,
        next_attempt_at=moment(delivery.next_attempt_at),
        created_at=format_timestamp(delivery.created_at),
        finished_at=moment(delivery.finished_at),
        attempts=[
            Attempt(
                number=attempt.number,
                started_at=format_timestamp(attempt.started_at),
                duration_ms=attempt.duration_ms,
                http_status=attempt.http_status,
                error=attempt.error,
                answer=attempt.answer,
            )
            for attempt in delivery.attempts
        ],
    )


def _time(text: str, pointer: str) -> datetime:
    try:
        return query_params.time(text)
    except ValueError as error:
        raise validation_failed(str(error), pointer=pointer) from None
