"""Accounts and transactions as the API and its events show them. Every field is always present."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from finpay import ids
from finpay.formats import MinorUnits, Timestamp, format_timestamp, optional_timestamp
from finpay.ids import Prefix
from finpay.ledger import holds, reads, withdrawals


class PendingLimits(Struct, frozen=True):
    """Both limits as they will be from `effective_at` on."""

    single: MinorUnits | None
    daily: MinorUnits | None
    effective_at: Timestamp


class Limits(Struct, frozen=True):
    """What the account may send: at once, and in a day of UTC. Null: no limit."""

    single: MinorUnits | None
    daily: MinorUnits | None
    sent_today: MinorUnits
    resets_at: Timestamp
    pending: PendingLimits | None


class Account(Struct, frozen=True):
    """The caller's account. `available` is `balance` less `held`."""

    id: str
    object: Literal["account"]
    balance: MinorUnits
    available: MinorUnits
    held: MinorUnits
    currency: str
    status: Literal["active", "frozen", "closed"]
    version: int
    limits: Limits
    created_at: Timestamp


class Transaction(Struct, frozen=True):
    """Money that moved or was refused.

    `direction`, `balance_after` and `available_after` are the caller's own. `origin`: the hold,
    payment request, schedule or withdrawal it came of, or the refunded transaction. A transaction
    never changes but for `refunded_amount` and `status`.
    """

    id: str
    object: Literal["transaction"]
    type: Annotated[str, Meta(examples=["transfer", "funding", "deposit", "withdrawal", "refund"])]
    status: Annotated[str, Meta(examples=["completed", "failed", "reversed"])]
    direction: Literal["sent", "received"]
    amount: MinorUnits
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    balance_after: MinorUnits
    available_after: MinorUnits
    failure_code: str | None
    refunded_amount: MinorUnits
    origin: str | None
    scheduled_for: Timestamp | None
    created_at: Timestamp


class Hold(Struct, frozen=True):
    """Money that its sender has reserved for its receiver, until it expires.

    `remaining` can still be captured; it is 0 once the hold is not open.
    """

    id: str
    object: Literal["hold"]
    status: Annotated[str, Meta(examples=["open", "captured", "voided", "expired"])]
    direction: Literal["sent", "received"]
    amount: MinorUnits
    captured_amount: MinorUnits
    remaining: MinorUnits
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    expires_at: Timestamp
    created_at: Timestamp


class Withdrawal(Struct, frozen=True):
    """Money to be paid out, held until an operator completes or rejects it.

    `destination` is shown whole to its owner and to operators; it is empty in events.
    """

    id: str
    object: Literal["withdrawal"]
    status: Annotated[str, Meta(examples=["pending", "completed", "rejected", "canceled"])]
    amount: MinorUnits
    currency: str
    destination: dict[str, str]
    description: str | None
    reference: str | None
    reason: str | None
    transaction_id: str | None
    created_at: Timestamp


_ORIGIN_PREFIXES: Final[dict[str, Prefix]] = {
    "hold": "hld",
    "payment_request": "prq",
    "schedule": "sch",
    "withdrawal": "wdr",
    "transaction": "txn",
}


def account(state: Any) -> Account:
    """From the ledger's account, or identity's view of a new one: they share these fields."""
    return Account(
        id=ids.encode("acc", state.id),
        object="account",
        balance=state.balance,
        available=state.balance - state.held,
        held=state.held,
        currency=state.currency,
        status=state.status,
        version=state.version,
        limits=msgspec.json.decode(state.limits, type=Limits),
        created_at=format_timestamp(state.created_at),
    )


def transaction(step: reads.AccountTransaction, account_id: UUID) -> Transaction:
    """The transaction as the owner of `account_id` may see it."""
    sender = ids.encode("acc", step.sender_id)
    return Transaction(
        id=ids.encode("txn", step.id),
        object="transaction",
        type=step.type,
        status=step.status,
        direction="sent" if step.sender_id == account_id else "received",
        amount=step.amount,
        currency=step.currency,
        sender_id=sender,
        receiver_id=ids.encode("acc", step.receiver_id),
        description=step.description,
        metadata=msgspec.json.decode(step.metadata, type=dict[str, str]),
        balance_after=step.balance_after,
        available_after=step.balance_after - step.held_after,
        failure_code=step.failure_code,
        refunded_amount=step.refunded_amount,
        origin=_origin(step.origin_type, step.origin_id),
        scheduled_for=optional_timestamp(step.scheduled_for),
        created_at=format_timestamp(step.created_at),
    )


def hold(found: holds.Hold, account_id: UUID) -> Hold:
    """The hold as the owner of `account_id` may see it."""
    return Hold(
        id=ids.encode("hld", found.id),
        object="hold",
        status=found.status,
        direction="sent" if found.sender_id == account_id else "received",
        amount=found.amount,
        captured_amount=found.captured_amount,
        remaining=found.amount - found.captured_amount if found.status == "open" else 0,
        currency=found.currency,
        sender_id=ids.encode("acc", found.sender_id),
        receiver_id=ids.encode("acc", found.receiver_id),
        description=found.description,
        metadata=msgspec.json.decode(found.metadata, type=dict[str, str]),
        expires_at=format_timestamp(found.expires_at),
        created_at=format_timestamp(found.created_at),
    )


def withdrawal(found: withdrawals.Withdrawal) -> Withdrawal:
    transaction_id = found.transaction_id
    return Withdrawal(
        id=ids.encode("wdr", found.id),
        object="withdrawal",
        status=found.status,
        amount=found.amount,
        currency=found.currency,
        destination=msgspec.json.decode(found.destination, type=dict[str, str]),
        description=found.description,
        reference=found.reference,
        reason=found.reason,
        transaction_id=None if transaction_id is None else ids.encode("txn", transaction_id),
        created_at=format_timestamp(found.created_at),
    )


def _origin(origin_type: str | None, origin_id: UUID | None) -> str | None:
    if origin_type is None or origin_id is None:
        return None
    return ids.encode(_ORIGIN_PREFIXES[origin_type], origin_id)


def entry_id(transaction_id: UUID, amount: int) -> UUID:
    """The transaction's id with the side as its last bit: derived, so that no column stores it."""
    return UUID(int=transaction_id.int & ~1 | (amount > 0))
