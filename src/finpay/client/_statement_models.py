"""Past balances and statements as the client reads them. Amounts are in minor units."""

from datetime import date, datetime

from msgspec import Struct


class Balance(Struct, frozen=True):
    """The account after the last entry of a moment. By version, `held` and `available` are None."""

    balance: int
    held: int | None
    available: int | None
    version: int
    at: datetime


class Counterparty(Struct, frozen=True):
    """The other party of a transaction."""

    account_id: str
    name: str | None


class StatementEntry(Struct, frozen=True):
    """One entry of a statement. `amount` is negative where money left the account."""

    id: str
    transaction_id: str
    type: str
    counterparty: Counterparty
    description: str | None
    amount: int
    currency: str
    balance_after: int
    version: int
    created_at: datetime


class StatementTotals(Struct, frozen=True):
    """Entries of one type: how many, and what came in and went out."""

    count: int
    total_in: int
    total_out: int


class Statement(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """All entries of a period, oldest first. `start` and `end` are its first and last day."""

    start: date
    end: date
    timezone: str
    currency: str
    opening_balance: int
    closing_balance: int
    entries: tuple[StatementEntry, ...]
    total_in: int
    total_out: int
    totals_by_type: dict[str, StatementTotals]
