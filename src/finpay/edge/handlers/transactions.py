"""Handlers of /transactions: send money, read its history."""

from typing import Any

import msgspec

from finpay import ids
from finpay.edge.handlers.accounts import no_account
from finpay.edge.request import query_params
from finpay.edge.request.model import JSON, Context, Response
from finpay.edge.schemas import problems, responses
from finpay.edge.schemas.requests import TransferCommand
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.gate.gate import Completion
from finpay.identity.access_tokens import Principal
from finpay.ledger import reads, resources
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import PostingResult, Transfer


async def send(services: Services, call: Context) -> Response:
    """Posts one transfer. What the ledger decided is the answer, stored with its key."""
    transfer = _transfer(call, call.command)
    posted = await services.batcher.post(transfer)
    return reply_to(posted, call, own=posted.transaction_id == transfer.id)


def reply_to(posted: PostingResult, call: Context, *, own: bool) -> Response:
    """The stored answer. `own`: it is this request's first one, though found by its key."""
    settlement = _settlement(posted)
    if posted.outcome is Outcome.IDEMPOTENCY_KEY_REUSE:
        reply = problems.reply(key_reused(), call.request_id)
        reply.settlement = settlement
        return reply
    reply = stored_reply(posted.http_status, posted.answer)
    if own or posted.outcome is not Outcome.DUPLICATE:
        reply.headers.clear()  # its own first answer, even where a lost COMMIT had to be found
    reply.settlement = settlement
    return reply


async def history(services: Services, call: Context) -> Response:
    parameters = dict(call.parameters)
    limit = parameters.pop("limit", query_params.DEFAULT_LIMIT)
    caller = call.caller
    found = await _steps(services, caller, parameters, limit + 1)
    page = found.steps[:limit]
    next_cursor = None
    if len(found.steps) > limit:
        last = page[-1]
        next_cursor = query_params.TRANSACTIONS.write(
            caller.account_id, last.entry_version, last.sequence
        )
    data = [resources.transaction(step, caller.account_id) for step in page]
    return Response(
        200,
        responses.page(responses.TransactionList, data, next_cursor),
        headers=query_params.link(call.path, call.query, next_cursor),
        sequence=found.sequence,
    )


async def one(services: Services, call: Context) -> Response:
    """404 alike for what does not exist and for what belongs to others."""
    absent = FinPayError(Code.NOT_FOUND, "You have no transaction with this id.")
    transaction_id = call.uuid_in_path("txn", absent)
    step = await reads.transaction(services.database, transaction_id, call.caller.account_id)
    if step is None:
        raise absent
    return Response(200, responses.encode(resources.transaction(step, call.caller.account_id)))


def stored_reply(status: int, body: bytes) -> Response:
    """A stored answer, given again."""
    content_type = JSON if status < 400 else problems.CONTENT_TYPE
    return Response(status, body, content_type, headers={"Idempotent-Replayed": "true"})


def key_reused() -> FinPayError:
    return FinPayError(
        Code.IDEMPOTENCY_KEY_REUSE,
        "This key belongs to another request of yours. Send a new key with a new request.",
    )


async def _steps(
    services: Services, caller: Principal, parameters: dict[str, Any], limit: int
) -> reads.History:
    if not parameters:
        newest = await services.reader.newest(caller.account_id, limit)
        if newest is None:
            raise no_account()
        return newest
    before = reads.HistoryPosition(*parameters.pop("cursor", ()))
    return await reads.history(
        services.database,
        caller.user_id,
        caller.account_id,
        before=before,
        filters=reads.Filters(**parameters),
        limit=limit,
    )


def _transfer(call: Context, command: TransferCommand) -> Transfer:
    transaction_id = ids.new_uuid()
    metadata = msgspec.json.encode(command.metadata)
    return Transfer(
        id=transaction_id,
        sender_id=call.caller.account_id,
        receiver_id=command.receiver_id,
        receiver_email=command.receiver_email,
        amount=command.amount,
        currency=command.currency,
        description=command.description,
        metadata=metadata.decode(),
        key=call.key,
        fingerprint=call.fingerprint,
        request_id=call.request_id,
        address=call.address,
        reply=responses.transfer_template(
            transaction_id, command.amount, call.caller.account, command.description, metadata
        ),
    )


def _settlement(posted: PostingResult) -> Completion:
    return Completion(
        answer=(posted.fingerprint, posted.http_status, posted.answer),
        receivers=[ids.encode("usr", user) for user in posted.receivers],
    )
