"""Handlers of /withdrawals."""

import msgspec

from finpay import ids
from finpay.edge.handlers import operations
from finpay.edge.handlers.lists import id_position, limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses, templates
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.ledger import resources, withdrawals

_ABSENT = FinPayError(Code.NOT_FOUND, "You have no withdrawal with this id.")


async def create(services: Services, context: Context) -> Response:
    """Holds money until an operator has paid it out. The response masks the destination."""
    command = context.command
    withdrawal_id = ids.new_uuid()
    reply = templates.withdrawal(
        withdrawal_id, command.amount, command.destination, command.description
    )
    return await operations.post(
        services,
        context,
        "withdrawal",
        withdrawal_id,
        reply,
        amount=command.amount,
        description=command.description,
        metadata=msgspec.json.encode(command.destination).decode(),
    )


async def cancel(services: Services, context: Context) -> Response:
    """Releases the money of a pending withdrawal."""
    target = context.path_uuid("wdr", _ABSENT)
    # The destination never changes, so it can be read before. The ledger refuses another user's.
    found = await withdrawals.get(services.database, target, context.caller.account_id)
    destination = {} if found is None else resources.withdrawal(found).destination
    reply = templates.canceled_withdrawal(target, destination)
    return await operations.post(services, context, "cancel", ids.new_uuid(), reply, target=target)


async def retrieve(services: Services, context: Context) -> Response:
    withdrawal_id = context.path_uuid("wdr", _ABSENT)
    found = await withdrawals.get(services.database, withdrawal_id, context.caller.account_id)
    if found is None:
        raise _ABSENT
    return Response(200, responses.encode(resources.withdrawal(found)))


async def list_(services: Services, context: Context) -> Response:
    cursor = context.parameters.get("cursor")
    found = await withdrawals.page(
        services.database,
        context.caller.account_id,
        before=None if cursor is None else pagination.position_to_uuid(cursor),
        status=context.parameters.get("status"),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        responses.WithdrawalList,
        found.rows,
        resource=resources.withdrawal,
        codec=pagination.WITHDRAWALS,
        position=lambda row: pagination.uuid_to_position(row.id),
        scanned_to=id_position(found.scanned_to),
    )
