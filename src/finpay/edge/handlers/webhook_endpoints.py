"""Handlers of /webhook_endpoints."""

from uuid import UUID

import msgspec
from msgspec import UNSET

from finpay.edge.handlers.lists import id_before, limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas.responses import encode
from finpay.edge.schemas.webhooks import (
    SecretRotation,
    WebhookEndpointCreate,
    WebhookEndpointList,
    WebhookEndpointUpdate,
    webhook_endpoint,
)
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError, validation_failed
from finpay.webhooks import endpoints


async def create(services: Services, context: Context) -> Response:
    """201 with the secret; 422 beyond MAX_PER_USER endpoints."""
    command: WebhookEndpointCreate = context.command
    await services.endpoint_urls.check(command.url, context.caller.user_id)
    spec = endpoints.EndpointSpec(
        command.url, command.description, command.event_types, command.enabled
    )
    made = await endpoints.create(services.database, _owner(context), spec)
    if made is None:
        raise validation_failed(
            f"You have {endpoints.MAX_PER_USER} webhook endpoints, the most that one user may "
            "have. Change or delete one of them."
        )
    return Response(201, encode(webhook_endpoint(*made)))


async def list_(services: Services, context: Context) -> Response:
    rows = await endpoints.list_(
        services.database,
        context.caller.user_id,
        before=id_before(context),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        WebhookEndpointList,
        rows,
        resource=webhook_endpoint,
        codec=pagination.ENDPOINTS,
        position=lambda row: pagination.uuid_to_position(row.id),
    )


async def retrieve(services: Services, context: Context) -> Response:
    """404 for an endpoint of another user, as for one that doesn't exist."""
    found = await endpoints.get(services.database, context.caller.user_id, endpoint_id(context))
    if found is None:
        raise no_endpoint()
    return Response(200, encode(webhook_endpoint(found)))


async def update(services: Services, context: Context) -> Response:
    """Sets the members that were sent; the others stay."""
    command: WebhookEndpointUpdate = context.command
    members = {
        name: value for name, value in msgspec.structs.asdict(command).items() if value is not UNSET
    }
    if "url" in members:
        await services.endpoint_urls.check(members["url"], context.caller.user_id)
    endpoint = endpoint_id(context)
    found = await endpoints.update(services.database, _owner(context), endpoint, members)
    if found is None:
        raise no_endpoint()
    return Response(200, encode(webhook_endpoint(found)))


async def delete(services: Services, context: Context) -> Response:
    """Pending deliveries are canceled."""
    if not await endpoints.delete(services.database, _owner(context), endpoint_id(context)):
        raise no_endpoint()
    return Response(204, content_type=None)


async def rotate_secret(services: Services, context: Context) -> Response:
    """The new secret. The previous one signs too for the overlap, so no receiver fails."""
    command: SecretRotation = context.command
    overlap_s = command.overlap_s
    if overlap_s is None:
        overlap_s = services.settings.webhook_secret_overlap_s
    rotated = await endpoints.rotate_secret(
        services.database, _owner(context), endpoint_id(context), overlap_s=overlap_s
    )
    if rotated is None:
        raise no_endpoint()
    return Response(200, encode(webhook_endpoint(*rotated)))


def endpoint_id(context: Context) -> UUID:
    """The id in the path. 404 for what is not the id of an endpoint."""
    return context.path_uuid("whe", no_endpoint())


def no_endpoint() -> FinPayError:
    return FinPayError(Code.NOT_FOUND, "You have no webhook endpoint with this id.")


def _owner(context: Context) -> endpoints.Owner:
    return endpoints.Owner(context.caller.user_id, context.caller.account_id, context.origin)
