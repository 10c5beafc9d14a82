"""Handlers of /holds."""

import msgspec

from finpay import ids
from finpay.edge.handlers import dry_runs, operations
from finpay.edge.handlers.lists import id_position, limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses, templates
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.ledger import holds, resources

_ABSENT = FinPayError(Code.NOT_FOUND, "You have no hold with this id.")


async def create(services: Services, context: Context) -> Response:
    """Reserves money for a receiver."""
    if context.parameters.get("dry_run"):
        return await dry_runs.of_payment(services, context, "hold")
    command = context.command
    hold_id = ids.new_uuid()
    metadata = msgspec.json.encode(command.metadata)
    reply = templates.hold(
        hold_id, command.amount, context.caller.account, command.description, metadata
    )
    return await operations.post(
        services,
        context,
        "hold",
        hold_id,
        reply,
        receiver_id=command.receiver_id,
        receiver_email=command.receiver_email,
        amount=command.amount,
        currency=command.currency,
        description=command.description,
        metadata=metadata.decode(),
        expires_in_s=command.expires_in_s,
        if_version=command.if_version,
        if_balance_gte=command.if_balance_gte,
    )


async def capture(services: Services, context: Context) -> Response:
    """Moves money of a hold to its receiver. The response is the transaction."""
    target = context.path_uuid("hld", _ABSENT)
    transaction_id = ids.new_uuid()
    return await operations.post(
        services,
        context,
        "capture",
        transaction_id,
        templates.capture(transaction_id, target, context.caller.account),
        target=target,
        amount=context.command.amount,
        final=context.command.final,
    )


async def void(services: Services, context: Context) -> Response:
    """Releases what is left of a hold."""
    target = context.path_uuid("hld", _ABSENT)
    reply = templates.voided_hold(target, context.caller.account)
    return await operations.post(services, context, "void", ids.new_uuid(), reply, target=target)


async def retrieve(services: Services, context: Context) -> Response:
    owner = context.caller.account_id
    found = await holds.get(services.database, context.path_uuid("hld", _ABSENT), owner)
    if found is None:
        raise _ABSENT
    return Response(200, responses.encode(resources.hold(found, owner)))


async def list_(services: Services, context: Context) -> Response:
    parameters = dict(context.parameters)
    parameters.pop("limit", None)
    cursor = parameters.pop("cursor", None)
    owner = context.caller.account_id
    found = await holds.page(
        services.database,
        owner,
        before=None if cursor is None else pagination.position_to_uuid(cursor),
        filters=holds.Filters(**parameters),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        responses.HoldList,
        found.rows,
        resource=lambda row: resources.hold(row, owner),
        codec=pagination.HOLDS,
        position=lambda row: pagination.uuid_to_position(row.id),
        scanned_to=id_position(found.scanned_to),
    )
