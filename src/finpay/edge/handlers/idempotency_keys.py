"""Handler of /idempotency_keys: what became of a request whose answer was lost."""

from finpay import ids
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.ledger import reads


async def retrieve(services: Services, context: Context) -> Response:
    """The stored answer. 409 while its request is in progress, 404 for a key that nothing used."""
    key: str = context.parameters["key"]
    caller = context.caller
    found = await reads.stored_answer(services.database, caller.user_id, key)
    if found is None:
        if await services.gate.is_claimed(ids.encode("usr", caller.user_id), key):
            raise _in_progress()
        # It may have been answered between the two look-ups.
        found = await reads.stored_answer(services.database, caller.user_id, key)
    if found is None:
        raise FinPayError(
            Code.NOT_FOUND,
            "No answer is stored for this key. A request that is on its way may still get one.",
        )
    return Response(200, responses.encode(responses.stored_answer(found)))


def _in_progress() -> FinPayError:
    return FinPayError(
        Code.REQUEST_IN_PROGRESS,
        "The request with this key is in progress. Try again in a second.",
        headers={"Retry-After": "1"},
    )
