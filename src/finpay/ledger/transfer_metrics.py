"""The counters of a batch: outcomes, and the amount of money that moved.

The currency is the one that the ledger put into the answer: a sender may leave it open.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import Operation, Posting, PostingResult, Transfer, TransferItem
from finpay.telemetry import metrics

# A transaction's own currency stands before its description and metadata, and all items of a
# transfer batch have the sender's. In a client's text the quotes would be escaped.
_CURRENCY: Final = b'"currency":"'
_LETTERS: Final = 3
_AMOUNT: Final = re.compile(rb'"amount":(\d+)')
_COMPLETED: Final = ["completed"]  # the usual outcome of a request of one item
_MOVING: Final = frozenset({"transfer", "capture", "refund", "pay"})


def count(requests: Sequence[Posting], results: Sequence[PostingResult]) -> None:
    """Adds each outcome of an item, and the amounts moved now, once per currency: a duplicate moved
    its amount before."""
    outcomes: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for request, posted in zip(requests, results, strict=True):
        if posted.items == _COMPLETED:
            outcomes[Outcome.COMPLETED] += 1
        else:
            done = [outcome for outcome in posted.items if outcome is not None]
            outcomes.update(done or [posted.outcome])
        if posted.outcome is Outcome.COMPLETED:
            currency, amount = _moved(request, posted)
            moved[currency] += amount
    for outcome, times in outcomes.items():
        metrics.OUTCOMES.labels(outcome).inc(times)
    for currency, amount in moved.items():
        if amount:
            metrics.MONEY_MOVED.labels(currency).inc(amount)


def _moved(request: Posting, posted: PostingResult) -> tuple[str, int]:
    start = posted.answer.find(_CURRENCY)
    if start < 0:  # no item was completed
        return "", 0
    start += len(_CURRENCY)
    currency = posted.answer[start : start + _LETTERS].decode()
    if type(request) is Transfer:
        return currency, request.amount
    if isinstance(request, Operation):
        return currency, _amount_of_operation(request, posted)
    items: Sequence[Transfer | TransferItem] = request.items
    done = zip(items, posted.items, strict=True)
    return currency, sum(item.amount for item, outcome in done if outcome == Outcome.COMPLETED)


def _amount_of_operation(request: Operation, posted: PostingResult) -> int:
    """The amount in the answer, as the request may have left it open. A hold moves nothing."""
    found = _AMOUNT.search(posted.answer)
    return int(found[1]) if found and request.mode in _MOVING else 0
