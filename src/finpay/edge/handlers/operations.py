"""What the handlers of holds, refunds and withdrawals share: one operation posted to the ledger."""

from typing import Any
from uuid import UUID

from finpay import ids
from finpay.edge.handlers.transactions import response_to
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.services import Services
from finpay.ids import Prefix
from finpay.ledger.posting import Mode, Operation


async def post(
    services: Services, context: Context, mode: Mode, operation_id: UUID, reply: str, **members: Any
) -> Response:
    """Posts an operation; `members` are further fields of Operation. The response is what the
    ledger stored with the key.
    """
    operation = Operation(
        mode=mode,
        id=operation_id,
        sender_id=context.caller.account_id,
        key=context.key,
        fingerprint=context.fingerprint,
        request_id=context.request_id,
        address=context.client_ip,
        reply=reply,
        **members,
    )
    result = await services.batcher.post(operation)
    prefix = _MAKES_NO_TRANSACTION.get(mode)
    if prefix is None:
        first = result.transaction_id == operation_id
    else:
        first = f'"{ids.encode(prefix, operation_id)}"'.encode() in result.answer
    return response_to(result, context, first=first)


_MAKES_NO_TRANSACTION: dict[Mode, Prefix] = {"hold": "hld", "withdrawal": "wdr"}
