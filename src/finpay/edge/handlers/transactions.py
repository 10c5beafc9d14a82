"""Handlers of /transactions: create a transfer, read the history."""

import re
from typing import Any, Final

import msgspec

from finpay import ids
from finpay.edge.handlers import dry_runs
from finpay.edge.handlers.accounts import no_account
from finpay.edge.handlers.lists import limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import problems, responses, templates
from finpay.edge.schemas.money_requests import TransferCommand
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.gate.gate import Completion
from finpay.identity.access_tokens import Principal
from finpay.ledger import reads, resources
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import Operation, PostingResult, Transfer

_CODE: Final = re.compile(rb'"code":"(\w+)"')
_TRANSACTION_ID: Final = re.compile(rb'^{"id":"(txn_\w{26})"|"transaction_id":"(txn_\w{26})"')
_ID_WITHIN_BYTES: Final = 1_024  # at the begin of a transaction, or in a problem


async def create(services: Services, context: Context) -> Response:
    """Posts one transfer. The response is what the ledger stored with the key."""
    if context.parameters.get("dry_run"):
        return await dry_runs.of_payment(services, context, "transfer")
    transfer = _transfer(context, context.command)
    conditional = context.command.has_precondition
    result = await services.batcher.post(
        _with_precondition(transfer, context.command) if conditional else transfer
    )
    first = result.transaction_id == transfer.id
    return response_to(result, context, first=first)


def response_to(result: PostingResult, context: Context, *, first: bool) -> Response:
    """The stored response. `first`: this request made it, even if a lost COMMIT had to be found."""
    if result.outcome is Outcome.IDEMPOTENCY_KEY_REUSE:
        response = problems.response(key_reused(), context.request_id)
    else:
        response = stored_response(result.http_status, result.answer)
        if first or result.outcome is not Outcome.DUPLICATE:
            response.headers.clear()
    response.completion = Completion(
        answer=(result.fingerprint, result.http_status, result.answer),
        receivers=[ids.encode("usr", user) for user in result.receivers],
    )
    return response


async def list_(services: Services, context: Context) -> Response:
    parameters = dict(context.parameters)
    parameters.pop("limit", None)
    caller = context.caller
    found = await _history(services, caller, parameters, limit_of(context) + 1)
    response = list_response(
        context,
        responses.TransactionList,
        found.steps,
        resource=lambda row: resources.transaction(row, caller.account_id),
        codec=pagination.TRANSACTIONS,
        position=lambda row: (row.entry_version, row.sequence),
        scanned_to=None if found.scanned_to is None else found.scanned_to.values,
    )
    response.sequence = found.sequence
    return response


async def retrieve(services: Services, context: Context) -> Response:
    """404 for a transaction of other users, as for one that doesn't exist."""
    absent = FinPayError(Code.NOT_FOUND, "You have no transaction with this id.")
    transaction_id = context.path_uuid("txn", absent)
    owner = context.caller.account_id
    found = await reads.transaction(services.database, transaction_id, owner)
    if found is None:
        raise absent
    return Response(200, responses.encode(resources.transaction(found, owner)))


def stored_response(status: int, body: bytes) -> Response:
    """The stored response of an earlier request, marked as a replay."""
    response = Response(status, body, headers={"Idempotent-Replayed": "true"})
    if status >= 400:
        response.content_type = problems.CONTENT_TYPE
        code = _CODE.search(body)
        response.code = code[1].decode() if code else None
    transaction = _TRANSACTION_ID.search(body, 0, _ID_WITHIN_BYTES)
    response.transaction_id = (
        transaction[transaction.lastindex or 1].decode() if transaction else None
    )
    return response


def key_reused() -> FinPayError:
    return FinPayError(
        Code.IDEMPOTENCY_KEY_REUSE,
        "This key belongs to another request of yours. Send a new key with a new request.",
    )


async def _history(
    services: Services, caller: Principal, parameters: dict[str, Any], limit: int
) -> reads.History:
    if not parameters:
        first_page = await services.reads.newest(caller.account_id, limit)
        if first_page is None:
            raise no_account()
        return first_page
    before = reads.HistoryPosition(*parameters.pop("cursor", ()))
    return await reads.history(
        services.database,
        caller.user_id,
        caller.account_id,
        before=before,
        filters=reads.Filters(**parameters),
        limit=limit,
    )


def _with_precondition(transfer: Transfer, command: TransferCommand) -> Operation:
    """The same transfer as an operation, as plain transfers have no preconditions."""
    return Operation(
        mode=transfer.mode,
        if_version=command.if_version,
        if_balance_gte=command.if_balance_gte,
        **msgspec.structs.asdict(transfer),
    )


def _transfer(context: Context, command: TransferCommand) -> Transfer:
    transaction_id = ids.new_uuid()
    metadata = msgspec.json.encode(command.metadata)
    return Transfer(
        id=transaction_id,
        sender_id=context.caller.account_id,
        receiver_id=command.receiver_id,
        receiver_email=command.receiver_email,
        amount=command.amount,
        currency=command.currency,
        description=command.description,
        metadata=metadata.decode(),
        key=context.key,
        fingerprint=context.fingerprint,
        request_id=context.request_id,
        address=context.client_ip,
        reply=templates.transfer(
            transaction_id, command.amount, context.caller.account, command.description, metadata
        ),
    )
