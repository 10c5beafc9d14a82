"""Handlers of /webhook_endpoints: where the caller wants to be told, of what, signed with what."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from finpay import ids
from finpay.edge.request import query_params
from finpay.edge.request.model import Context, Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError, validation_failed
from finpay.formats import Timestamp, format_timestamp
from finpay.identity.models import RequestOrigin
from finpay.outbox.event_types import matching
from finpay.webhooks import endpoints
from finpay.webhooks.ssrf import url_policy

MAX_OVERLAP_S: Final = 604_800  # a week: whoever needs longer to change a secret has lost track

Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2_048,
        description="Where to POST events: https in production, no user name, no fragment.",
        examples=["https://example.com/finpay"],
    ),
]
EventTypes = Annotated[
    list[Annotated[str, Meta(max_length=64, examples=["transaction.*"])]],
    Meta(
        min_length=1,
        max_length=32,
        description="Types, groups such as `transaction.*`, or `*` for all.",
    ),
]
Description = Annotated[str, Meta(max_length=500)]


class NewEndpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """A place to be told of events."""

    url: Url
    event_types: EventTypes
    description: Description | None = None
    enabled: bool = True

    def checked(self) -> "NewEndpoint":
        return msgspec.structs.replace(self, event_types=_known(self.event_types))


class EndpointChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What shall be different (RFC 7396): what isn't named stays, null clears a description."""

    url: Url | UnsetType = UNSET
    event_types: EventTypes | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET

    def checked(self) -> "EndpointChange":
        if self.event_types is UNSET:
            return self
        return msgspec.structs.replace(self, event_types=_known(self.event_types))


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old secret signs beside the new one."""

    overlap_s: (
        Annotated[int, Meta(ge=0, le=MAX_OVERLAP_S, description="Seconds; 24 hours unless told.")]
        | None
    ) = None

    def checked(self) -> "Rotation":
        return self


class Endpoint(Struct, frozen=True):
    """A place that is told of events. `secret` is there once: when it is new."""

    id: str
    object: Literal["webhook_endpoint"]
    url: str
    description: str | None
    event_types: list[str]
    enabled: bool
    disabled_reason: Annotated[
        Literal["owner", "gone", "failing"] | None,
        Meta(
            description="Who switched it off: the owner; FinPay, for an answer of 410 (gone); "
            "FinPay, because every attempt of five days failed."
        ),
    ]
    disabled_at: Timestamp | None
    failing_since: Annotated[
        Timestamp | None,
        Meta(description="Since when no attempt succeeded; null if the last one did."),
    ]
    created_at: Timestamp
    updated_at: Timestamp
    secret: Annotated[
        str | None,
        Meta(
            description="`whsec_…`: in the answers that create and rotate it, null in all others."
        ),
    ]
    previous_secret_expires_at: Annotated[
        Timestamp | None, Meta(description="Until then an older secret signs too.")
    ]


class EndpointList(Struct, frozen=True):
    """One page of endpoints."""

    object: Literal["list"]
    data: list[Endpoint]
    has_more: bool
    next_cursor: str | None


async def create(services: Services, call: Context) -> Response:
    """201 with the secret; 422 for one too many."""
    command: NewEndpoint = call.command
    await url_policy.check_url(command.url, services.settings)
    draft = endpoints.EndpointSpec(
        command.url, command.description, command.event_types, command.enabled
    )
    made = await endpoints.add(services.database, _owner(call), draft)
    if made is None:
        raise validation_failed(
            f"You have {endpoints.MAX_PER_USER} endpoints, as many as there can be. Delete one, "
            "or change it."
        )
    return Response(201, responses.encode(_shown(*made)))


async def page(services: Services, call: Context) -> Response:
    """The caller's endpoints, newest first."""
    limit = call.parameters.get("limit", query_params.DEFAULT_LIMIT)
    owner = call.caller
    before = call.parameters.get("cursor")
    found = await endpoints.page(
        services.database,
        owner.user_id,
        before=None if before is None else query_params.position_to_uuid(before),
        limit=limit + 1,
    )
    data = found[:limit]
    cursor = None
    if len(found) > limit:
        cursor = query_params.ENDPOINTS.write(
            owner.account_id, *query_params.uuid_to_position(data[-1].id)
        )
    body = responses.page(EndpointList, [_shown(endpoint) for endpoint in data], cursor)
    return Response(200, body, headers=query_params.link(call.path, call.query, cursor))


async def one(services: Services, call: Context) -> Response:
    """404 alike for what does not exist and for what belongs to others."""
    found = await endpoints.one(services.database, call.caller.user_id, endpoint_id(call))
    return Response(200, responses.encode(_shown(_present(found))))


async def change(services: Services, call: Context) -> Response:
    """The members that were sent are what they are now; the others stay."""
    command: EndpointChange = call.command
    members = {
        name: value for name, value in msgspec.structs.asdict(command).items() if value is not UNSET
    }
    if "url" in members:
        await url_policy.check_url(members["url"], services.settings)
    found = await endpoints.change(services.database, _owner(call), endpoint_id(call), members)
    return Response(200, responses.encode(_shown(_present(found))))


async def delete(services: Services, call: Context) -> Response:
    """What was still to be sent there is canceled."""
    if not await endpoints.delete(services.database, _owner(call), endpoint_id(call)):
        raise no_endpoint()
    return Response(204, content_type=None)


async def rotate_secret(services: Services, call: Context) -> Response:
    """The new secret. The old one signs too for the overlap, so no receiver misses a beat."""
    command: Rotation = call.command
    overlap_s = command.overlap_s
    if overlap_s is None:
        overlap_s = services.settings.webhook_secret_overlap_s
    rotated = await endpoints.rotate_secret(
        services.database, _owner(call), endpoint_id(call), overlap_s=overlap_s
    )
    if rotated is None:
        raise no_endpoint()
    return Response(200, responses.encode(_shown(*rotated)))


def endpoint_id(call: Context) -> UUID:
    """The id in the path. 404 for one that is none."""
    return call.uuid_in_path("whe", no_endpoint())


def no_endpoint() -> FinPayError:
    return FinPayError(Code.NOT_FOUND, "You have no webhook endpoint with this id.")


def _present(found: endpoints.Endpoint | None) -> endpoints.Endpoint:
    if found is None:
        raise no_endpoint()
    return found


def _owner(call: Context) -> endpoints.Owner:
    caller = call.caller
    return endpoints.Owner(
        caller.user_id, caller.account_id, RequestOrigin(call.request_id, call.address)
    )


def _known(patterns: Sequence[str]) -> list[str]:
    """Each pattern once. 422 names the first that stands for no type of event."""
    for index, pattern in enumerate(patterns):
        try:
            matching(pattern)
        except ValueError as error:
            raise validation_failed(str(error), pointer=f"#/event_types/{index}") from None
    return list(dict.fromkeys(patterns))


def moment(value: datetime | None) -> str | None:
    """A time that may be missing."""
    return None if value is None else format_timestamp(value)


def _shown(endpoint: endpoints.Endpoint, secret: str | None = None) -> Endpoint:
    return Endpoint(
        id=ids.encode("whe", endpoint.id),
        object="webhook_endpoint",
        url=endpoint.url,
        description=endpoint.description,
        event_types=list(endpoint.event_types),
        enabled=endpoint.enabled,
        disabled_reason=endpoint.disabled_reason,
        disabled_at=moment(endpoint.disabled_at),
        failing_since=moment(endpoint.first_failing_at),
        created_at=format_timestamp(endpoint.created_at),
        updated_at=format_timestamp(endpoint.updated_at),
        secret=secret,
        previous_secret_expires_at=moment(endpoint.overlap_until),
    )
