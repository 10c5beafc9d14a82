"""The Python SDK of FinPay: typed, safe to retry, the same with and without asyncio.

    from finpay.client import FinPay, FinPayError

    with FinPay("http://127.0.0.1:3000") as finpay:
        finpay.login("alice@finpay.dev", "password123")
        try:
            sent = finpay.send(amount=50_000, receiver_email="bob@finpay.dev")
        except FinPayError as refusal:
            print(refusal.code, refusal.detail)
        for transaction in finpay.transactions(direction="sent"):
            print(transaction.id, transaction.amount, transaction.currency)

Amounts are integers in minor units. `AsyncFinPay` has the same methods to await, and its lists are
read with `async for`. Receivers of webhooks verify them with `finpay.client.webhooks`. How it works
inside: `_core` builds requests and reads answers, `_conversation` decides what comes next, both
without I/O; `_sync` and `_async` only carry it out over httpx.
"""

from finpay.client._async import AsyncFinPay
from finpay.client._errors import ApiError, ConnectionFailed, UnexpectedResponse
from finpay.client._flow import Options
from finpay.client._models import (
    Account,
    Attempt,
    Batch,
    BatchItem,
    Delivery,
    Entry,
    Event,
    Health,
    ItemError,
    Login,
    Page,
    Tokens,
    Transaction,
    User,
    WebhookEndpoint,
)
from finpay.client._operations import (
    BatchTransfer,
    EntryFilters,
    EventFilters,
    TransactionFilters,
    Transfer,
)
from finpay.client._pager import AsyncPager, Pager
from finpay.client._requests import Answer
from finpay.client._sync import FinPay
from finpay.client._webhook_operations import DeliveryFilters, EndpointChange
from finpay.errors import Code, FieldError, FinPayError

__all__ = [
    "Account",
    "Answer",
    "ApiError",
    "AsyncFinPay",
    "AsyncPager",
    "Attempt",
    "Batch",
    "BatchItem",
    "BatchTransfer",
    "Code",
    "ConnectionFailed",
    "Delivery",
    "DeliveryFilters",
    "EndpointChange",
    "Entry",
    "EntryFilters",
    "Event",
    "EventFilters",
    "FieldError",
    "FinPay",
    "FinPayError",
    "Health",
    "ItemError",
    "Login",
    "Options",
    "Page",
    "Pager",
    "Tokens",
    "Transaction",
    "TransactionFilters",
    "Transfer",
    "UnexpectedResponse",
    "User",
    "WebhookEndpoint",
]
