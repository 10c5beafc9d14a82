"""How much money a batch moved, for the counter of it.

The currency is the one that the ledger put into the answer: a sender may leave it open.
"""

from collections.abc import Sequence
from typing import Final

from finpay import metrics
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import Item, Posted, Request, Transfer

# A transaction's own currency stands before its description and metadata, and whatever moves in a
# bulk has the sender's. In a client's text the quotes would be escaped.
_CURRENCY: Final = b'"currency":"'
_LETTERS: Final = 3


def count(requests: Sequence[Request], results: Sequence[Posted]) -> None:
    """Adds what was moved now, once per currency; what was only found by its key is no news."""
    moved: dict[str, int] = {}
    for request, posted in zip(requests, results, strict=True):
        if posted.outcome is not Outcome.COMPLETED:
            continue
        place = posted.answer.find(_CURRENCY)
        if place < 0:  # nothing of it was done
            continue
        place += len(_CURRENCY)
        currency = posted.answer[place : place + _LETTERS].decode()
        items: Sequence[Transfer | Item] = request.items
        done = zip(items, posted.items, strict=True)
        amount = sum(item.amount for item, outcome in done if outcome == Outcome.COMPLETED)
        moved[currency] = moved.get(currency, 0) + amount
    for currency, amount in moved.items():
        metrics.MONEY_MOVED.labels(currency).inc(amount)
