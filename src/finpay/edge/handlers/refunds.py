"""Handler of /transactions/{id}/refunds."""

import msgspec

from finpay import ids
from finpay.edge.handlers import dry_runs, operations
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import templates
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError

_ABSENT = FinPayError(Code.NOT_FOUND, "You have no transaction with this id.")


async def create(services: Services, context: Context) -> Response:
    """Gives money back to the sender of a transfer. The response is the refund."""
    command = context.command
    target = context.path_uuid("txn", _ABSENT)
    if context.parameters.get("dry_run"):
        return await dry_runs.of_refund(services, context, target)
    transaction_id = ids.new_uuid()
    metadata = msgspec.json.encode(command.metadata or {})
    reply = templates.refund(
        transaction_id, target, context.caller.account, command.description, metadata
    )
    return await operations.post(
        services,
        context,
        "refund",
        transaction_id,
        reply,
        target=target,
        amount=command.amount,
        description=command.description,
        metadata=metadata.decode(),
    )
