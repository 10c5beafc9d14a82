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
    own = f'"{ids.encode(_PREFIXES.get(mode, "txn"), operation_id)}"'.encode()
    return response_to(result, context, first=own in result.answer)


_PREFIXES: dict[Mode, Prefix] = {"hold": "hld", "withdrawal": "wdr"}
