"""Handlers of /auth/sessions: list where the user is logged in, and end sessions."""

from functools import partial

from finpay.edge.handlers.lists import id_before, limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas.identity import ActiveSessionList, active_session
from finpay.edge.schemas.responses import session_ids
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError


async def list_(services: Services, context: Context) -> Response:
    rows = await services.identity.sessions.list_(
        context.caller.user_id,
        before=id_before(context),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        ActiveSessionList,
        rows,
        resource=partial(active_session, current=context.caller.session_id),
        codec=pagination.SESSIONS,
        position=lambda row: pagination.uuid_to_position(row.id),
    )


async def delete(services: Services, context: Context) -> Response:
    """404 for a session of another user, as for one that has ended."""
    absent = FinPayError(Code.NOT_FOUND, "You have no active session with this id.")
    session_id = context.path_uuid("ses", absent)
    user_id = context.caller.user_id
    if not await services.identity.sessions.revoke(session_id, user_id, "revoked", context.origin):
        raise absent
    await services.gate.end_sessions(context.caller.user, session_ids([session_id]))
    return Response(204, content_type=None)


async def delete_others(services: Services, context: Context) -> Response:
    ended = await services.identity.sessions.revoke_others(context.caller, context.origin)
    await services.gate.end_sessions(context.caller.user, session_ids(ended))
    return Response(204, content_type=None)
