"""Handler of /transactions/batch: many transfers of one sender, under one idempotency key.

The word for such a request is bulk inside this server: a batch is what shares a commit.
"""

import re
from typing import Final

import msgspec

from finpay import ids
from finpay.edge.handlers import transactions
from finpay.edge.request.model import Context, Response
from finpay.edge.schemas import responses
from finpay.edge.schemas.requests import TransferBatchCommand, TransferCommand
from finpay.edge.services import Services
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import PostingResult, TransferBatch, TransferItem

_ANY_TRANSACTION: Final = re.compile(rb'"(?:transaction_)?id":"(txn_\w{26})"')


async def send(services: Services, call: Context) -> Response:
    """Posts all items in their order. What the ledger decided is the answer, stored with its key.

    independent: 200, whatever became of the items. atomic: 201, or the problem of the first item
    that can't be done.
    """
    bulk = _bulk(call, call.command)
    posted = await services.batcher.post(bulk)
    return transactions.reply_to(posted, call, own=_is_own(bulk, posted))


def _bulk(call: Context, command: TransferBatchCommand) -> TransferBatch:
    sender = call.caller.account
    return TransferBatch(
        sender_id=call.caller.account_id,
        mode=command.mode,
        items=[_item(index, item, sender) for index, item in enumerate(command.items)],
        key=call.key,
        fingerprint=call.fingerprint,
        request_id=call.request_id,
        address=call.address,
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
            responses.transfer_template(
                transaction_id, command.amount, sender, command.description, metadata
            ),
        ),
    )


def _is_own(bulk: TransferBatch, posted: PostingResult) -> bool:
    """Whether a duplicate is this request's own first try: one transaction tells."""
    if posted.outcome is not Outcome.DUPLICATE:
        return False
    recorded = _ANY_TRANSACTION.search(posted.answer)
    if recorded is None:
        return False
    first = ids.decode("txn", recorded[1].decode())
    return any(item.id == first for item in bulk.items)
