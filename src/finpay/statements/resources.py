"""Balances and statements as the API shows them. Every field is always present."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from finpay import ids
from finpay.formats import MinorUnits, Timestamp, format_timestamp
from finpay.ledger.resources import entry_id
from finpay.statements.reads import PastBalance, StatementRow

Date = Annotated[str, Meta(examples=["2026-01-31"])]


class Balance(Struct, frozen=True):
    """The account after the last entry of a moment. By version, `held` and `available` are null."""

    object: Literal["balance"]
    balance: MinorUnits
    held: MinorUnits | None
    available: MinorUnits | None
    version: int
    at: Timestamp


class Counterparty(Struct, frozen=True):
    """The other party of a transaction. A system account has no name."""

    account_id: str
    name: str | None


class StatementEntry(Struct, frozen=True, gc=False):
    """One entry of a statement. `amount` is negative where money left the account."""

    id: str
    object: Literal["entry"]
    transaction_id: str
    type: Annotated[str, Meta(examples=["transfer", "funding"])]
    counterparty: Counterparty
    description: str | None
    amount: MinorUnits
    currency: str
    balance_after: MinorUnits
    version: int
    created_at: Timestamp


class Totals(Struct):
    """Entries of one type: how many, and what came in and went out."""

    count: int = 0
    total_in: MinorUnits = 0
    total_out: MinorUnits = 0


class Statement(Struct, frozen=True, rename={"from_": "from"}):
    """All entries of a period, oldest first: opening_balance + total_in - total_out is
    closing_balance. Both totals are positive; they follow the entries, as they are their sums."""

    object: Literal["statement"]
    from_: Date
    to: Date
    timezone: str
    currency: str
    opening_balance: MinorUnits
    closing_balance: MinorUnits
    entries: list[StatementEntry]
    total_in: MinorUnits
    total_out: MinorUnits
    totals_by_type: dict[str, Totals]


def balance(past: PastBalance) -> Balance:
    held = past.held
    return Balance(
        object="balance",
        balance=past.balance,
        held=held,
        available=None if held is None else past.balance - held,
        version=past.version,
        at=format_timestamp(past.at),
    )


def entry(row: StatementRow, currency: str) -> StatementEntry:
    return StatementEntry(
        id=ids.encode("ent", entry_id(row["transaction_id"], row["amount"])),
        object="entry",
        transaction_id=ids.encode("txn", row["transaction_id"]),
        type=row["type"],
        counterparty=Counterparty(ids.encode("acc", row["counterparty_id"]), row["name"]),
        description=row["description"],
        amount=row["amount"],
        currency=currency,
        balance_after=row["balance_after"],
        version=row["version"],
        created_at=format_timestamp(row["created_at"]),
    )
