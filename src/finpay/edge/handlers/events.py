"""Handlers of /events: what happened to the caller's account, to read and to catch up with."""

from finpay.edge.request import query_params
from finpay.edge.request.model import Context, Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.outbox import events
from finpay.outbox.events import Filters
from finpay.outbox.resources import Event


async def page(services: Services, call: Context) -> Response:
    """Newest first; with after_sequence oldest first, so that polling with it misses nothing."""
    limit = call.parameters.get("limit", query_params.DEFAULT_LIMIT)
    owner = call.caller.account_id
    found = await _found(services, call, limit + 1)
    shown = found[:limit]
    cursor = None
    if len(found) > limit:
        cursor = query_params.EVENTS.write(owner, _direction(call), shown[-1].sequence)
    body = responses.page(responses.EventList, shown, cursor)
    return Response(200, body, headers=query_params.link(call.path, call.query, cursor))


async def one(services: Services, call: Context) -> Response:
    """404 alike for what does not exist and for what belongs to others."""
    absent = FinPayError(Code.NOT_FOUND, "You have no event with this id.")
    event_id = call.uuid_in_path("evt", absent)
    found = await events.one(services.database, call.caller.account_id, event_id)
    if found is None:
        raise absent
    return Response(200, events.encode_event(found))


async def _found(services: Services, call: Context, limit: int) -> list[Event]:
    parameters = call.parameters
    filters = Filters(
        parameters.get("type"), parameters.get("created_from"), parameters.get("created_to")
    )
    direction, reached = parameters.get("cursor", (None, None))
    if direction not in {None, _direction(call)}:
        raise FinPayError(
            Code.CURSOR_INVALID,
            "This cursor goes the other way: send after_sequence again, or leave it out, "
            "as for the page before.",
        )
    owner = call.caller.account_id
    if "after_sequence" in parameters:
        after = max(parameters["after_sequence"], reached or 0)
        return await events.following(services.database, owner, filters, after=after, limit=limit)
    return await events.newest(services.database, owner, filters, before=reached, limit=limit)


def _direction(call: Context) -> int:
    """0 for newest first, 1 for oldest first: part of a cursor."""
    return int("after_sequence" in call.parameters)
