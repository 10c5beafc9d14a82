"""Holds, withdrawals, dry runs and the stored answer of a key, as the client reads them.

Transactions, batches, payment requests and schedules are in _models.py.
"""

from datetime import datetime

from msgspec import Struct

from finpay.client._models import Limits


class Hold(Struct, frozen=True):
    """Money reserved for a receiver, `hld_…`, from the caller's side.

    `status`: open, captured, voided or expired. `remaining` can still be captured.
    """

    id: str
    status: str
    direction: str
    amount: int
    captured_amount: int
    remaining: int
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    expires_at: datetime
    created_at: datetime


class Withdrawal(Struct, frozen=True):
    """Money to be paid out, `wdr_…`. `status`: pending, completed, rejected or canceled."""

    id: str
    status: str
    amount: int
    currency: str
    destination: dict[str, str]
    description: str | None
    reference: str | None
    reason: str | None
    transaction_id: str | None
    created_at: datetime


class DryRun(Struct, frozen=True):
    """What would become of a payment now.

    `outcome`: completed, or the code of the refusal; then the balances are those of now.
    """

    outcome: str
    amount: int
    currency: str
    balance_after: int
    available_after: int
    limits: Limits


class StoredAnswer(Struct, frozen=True):
    """The answer that an idempotency key stands for. `body` is its text, byte for byte."""

    key: str
    http_status: int
    content_type: str
    body: str
    transaction_id: str | None
    created_at: datetime
