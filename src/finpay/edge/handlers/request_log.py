"""Handlers of /requests: what the caller asked of the API in the last seven days."""

from finpay.edge.handlers.lists import id_before, limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas.request_log import LoggedRequestList, logged_request
from finpay.edge.schemas.responses import encode
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.identity import request_log


async def list_(services: Services, context: Context) -> Response:
    rows = await request_log.page(
        services.database,
        context.caller.user_id,
        before=id_before(context),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        LoggedRequestList,
        rows,
        resource=logged_request,
        codec=pagination.REQUESTS,
        position=lambda row: pagination.uuid_to_position(row.id),
    )


async def retrieve(services: Services, context: Context) -> Response:
    absent = FinPayError(Code.NOT_FOUND, "The log has no request of yours with this id.")
    request_id = context.path_uuid("req", absent)
    found = await request_log.get(services.database, context.caller.user_id, request_id)
    if found is None:
        raise absent
    return Response(200, encode(logged_request(found)))
