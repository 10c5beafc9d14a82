"""Handlers of /events: newest first, or in order from a sequence on."""

from finpay.edge.handlers.lists import limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.outbox import events
from finpay.outbox.events import EventPage, Filters


async def list_(services: Services, context: Context) -> Response:
    """Newest first; with after_sequence oldest first, so that polling with it misses nothing."""
    found = await _events(services, context, limit_of(context) + 1)
    direction = _direction(context)
    return list_response(
        context,
        responses.EventList,
        found.events,
        resource=lambda event: event,
        codec=pagination.EVENTS,
        position=lambda event: (direction, event.sequence),
        scanned_to=None if found.scanned_to is None else (direction, found.scanned_to),
    )


async def retrieve(services: Services, context: Context) -> Response:
    """404 for an event of another user, as for one that doesn't exist."""
    absent = FinPayError(Code.NOT_FOUND, "You have no event with this id.")
    event_id = context.path_uuid("evt", absent)
    found = await events.get(services.database, context.caller.account_id, event_id)
    if found is None:
        raise absent
    return Response(200, events.encode_event(found))


async def _events(services: Services, context: Context, limit: int) -> EventPage:
    parameters = context.parameters
    filters = Filters(
        parameters.get("type"), parameters.get("created_from"), parameters.get("created_to")
    )
    direction, reached = parameters.get("cursor", (None, None))
    if direction not in {None, _direction(context)}:
        raise FinPayError(
            Code.CURSOR_INVALID,
            "This cursor belongs to the list in the other order: send after_sequence as for the "
            "page before.",
        )
    owner = context.caller.account_id
    if "after_sequence" in parameters:
        after = max(parameters["after_sequence"], reached or 0)
        return await events.list_after(services.database, owner, filters, after=after, limit=limit)
    return await events.list_before(services.database, owner, filters, before=reached, limit=limit)


def _direction(context: Context) -> int:
    """Part of a cursor: 0 for newest first, 1 for oldest first."""
    return int("after_sequence" in context.parameters)
