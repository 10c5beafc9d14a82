"""Handlers of /requests: the log of the user's requests of the last seven days."""

from finpay.edge.handlers.lists import limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import REQUEST_ID, Context
from finpay.edge.response import Response
from finpay.edge.schemas.identity import LoggedRequestList, logged_request
from finpay.edge.schemas.responses import encode
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError


async def list_(services: Services, context: Context) -> Response:
    position = context.parameters.get("cursor")
    before = None
    if position is not None:
        before = pagination.position_to_moment(position[0]), position[1]
    rows = await services.request_log.list_(context.caller.user_id, before, limit_of(context) + 1)
    return list_response(
        context,
        LoggedRequestList,
        rows,
        resource=logged_request,
        codec=pagination.LOGGED_REQUESTS,
        position=lambda row: (pagination.moment_to_position(row.created_at), row.number),
    )


async def retrieve(services: Services, context: Context) -> Response:
    """404 for one of another user, as for one that was not logged."""
    found = None
    if REQUEST_ID.fullmatch(context.path_id):
        found = await services.request_log.get(context.caller.user_id, context.path_id)
    if found is None:
        raise FinPayError(Code.NOT_FOUND, "No request of yours with this id is in the log.")
    return Response(200, encode(logged_request(found)))
