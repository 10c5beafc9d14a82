"""Accounts and transactions as the API and its events show them. Every field is always present."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from finpay import ids
from finpay.formats import MinorUnits, Timestamp, format_timestamp
from finpay.ledger import reads


class Account(Struct, frozen=True):
    """The caller's account. `available` is `balance` less `held`."""

    id: str
    object: Literal["account"]
    balance: MinorUnits
    available: MinorUnits
    held: MinorUnits
    currency: str
    status: Literal["active", "frozen"]
    version: int
    created_at: Timestamp


class Transaction(Struct, frozen=True):
    """Money that moved or was refused. `direction` and `balance_after` are the caller's own."""

    id: str
    object: Literal["transaction"]
    type: Annotated[str, Meta(examples=["transfer", "funding"])]
    status: Annotated[str, Meta(examples=["pending", "completed", "failed", "reversed"])]
    direction: Literal["sent", "received"]
    amount: MinorUnits
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    balance_after: MinorUnits
    failure_code: str | None
    created_at: Timestamp


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
        failure_code=step.failure_code,
        created_at=format_timestamp(step.created_at),
    )


def entry_id(transaction_id: UUID, amount: int) -> UUID:
    """The transaction's id with the side as its last bit: derived, so that no column stores it."""
    return UUID(int=transaction_id.int & ~1 | (amount > 0))
