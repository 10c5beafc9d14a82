"""Handlers of deliveries: list, retrieve, retry, ping, replay."""

from uuid import UUID

from finpay.edge.handlers.lists import id_before, limit_of, list_response
from finpay.edge.handlers.webhook_endpoints import endpoint_id, no_endpoint
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import webhooks as schemas
from finpay.edge.schemas.responses import encode
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.webhooks import deliveries, endpoints, redelivery


async def list_(services: Services, context: Context) -> Response:
    """The deliveries of an endpoint, newest first."""
    parameters = context.parameters
    endpoint = await endpoints.get(services.database, context.caller.user_id, endpoint_id(context))
    if endpoint is None:
        raise no_endpoint()
    rows = await deliveries.list_(
        services.database,
        endpoint.id,
        status=parameters.get("status"),
        before=id_before(context),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        schemas.DeliveryList,
        rows,
        resource=schemas.delivery,
        codec=pagination.DELIVERIES,
        position=lambda row: pagination.uuid_to_position(row.id),
    )


async def retrieve(services: Services, context: Context) -> Response:
    """404 for a delivery to another user's endpoint, as for one that doesn't exist."""
    return await _response(services, context, _delivery_id(context), 200)


async def retry(services: Services, context: Context) -> Response:
    """The delivery, pending again. 422 if its endpoint is disabled."""
    delivery = _delivery_id(context)
    if not await redelivery.retry(services.database, context.caller.user_id, delivery):
        raise _no_delivery()
    services.notifier.notify()
    return await _response(services, context, delivery, 200)


async def ping(services: Services, context: Context) -> Response:
    """201 with the delivery of a ping. 422 for a disabled endpoint."""
    delivery = await redelivery.ping(
        services.database, context.caller.user_id, endpoint_id(context), context.request_id
    )
    if delivery is None:
        raise no_endpoint()
    services.notifier.notify()
    return await _response(services, context, delivery, 201)


async def replay(services: Services, context: Context) -> Response:
    """The number of queued deliveries. 422 if the endpoint is disabled."""
    command: schemas.ReplayCommand = context.command
    queued = await redelivery.replay(
        services.database,
        context.caller.user_id,
        endpoint_id(context),
        redelivery.ReplayRange(command.since, command.until, command.only_failed),
    )
    if queued is None:
        raise no_endpoint()
    services.notifier.notify()
    return Response(200, encode(schemas.ReplayResult("replay", queued)))


def _delivery_id(context: Context) -> UUID:
    """The id in the path. 404 for what is not the id of a delivery."""
    return context.path_uuid("whd", _no_delivery())


async def _response(services: Services, context: Context, delivery: UUID, status: int) -> Response:
    found = await deliveries.get(services.database, context.caller.user_id, delivery)
    if found is None:
        raise _no_delivery()
    return Response(status, encode(schemas.delivery(found)))


def _no_delivery() -> FinPayError:
    return FinPayError(Code.NOT_FOUND, "You have no delivery with this id.")
