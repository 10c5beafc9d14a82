"""Handler of /transactions/batch: many transfers of one sender under one idempotency key."""

import re
from typing import Final

import msgspec

from finpay import ids
from finpay.edge.handlers import transactions
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses, templates
from finpay.edge.schemas.money_requests import TransferBatchCommand, TransferCommand
from finpay.edge.services import Services
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import PostingResult, TransferBatch, TransferItem

_ANY_TRANSACTION: Final = re.compile(rb'"(?:transaction_)?id":"(txn_\w{26})"')


async def create(services: Services, context: Context) -> Response:
    """Posts all items in order. The response is what the ledger stored with the key.

    independent: 200, with the result of each item. atomic: 201, or the problem of the first item
    that failed.
    """
    batch = _batch(context, context.command)
    result = await services.batcher.post(batch)
    return transactions.response_to(result, context, first=_is_first_attempt(batch, result))


def _batch(context: Context, command: TransferBatchCommand) -> TransferBatch:
    sender = context.caller.account
    return TransferBatch(
        sender_id=context.caller.account_id,
        mode=command.mode,
        items=[_item(index, item, sender) for index, item in enumerate(command.items)],
        key=context.key,
        fingerprint=context.fingerprint,
        request_id=context.request_id,
        address=context.client_ip,
    )


def _item(index: int, command: TransferCommand, sender: str) -> TransferItem:
    transaction_id = ids.new_uuid()
    metadata = msgspec.json.encode(command.metadata)
    return TransferItem(
        id=transaction_id,
        receiver_id=command.receiver_id,
        receiver_email=command.receiver_email,
        amount=command.amount,
        currency=command.currency,
        description=command.description,
        metadata=metadata.decode(),
        reply=responses.item_template(
            index,
            templates.transfer(
                transaction_id, command.amount, sender, command.description, metadata
            ),
        ),
    )


def _is_first_attempt(batch: TransferBatch, result: PostingResult) -> bool:
    """Whether a duplicate is this request's own first attempt: one transaction shows it."""
    if result.outcome is not Outcome.DUPLICATE:
        return False
    recorded = _ANY_TRANSACTION.search(result.answer)
    if recorded is None:
        return False
    first = ids.decode("txn", recorded[1].decode())
    return any(item.id == first for item in batch.items)
