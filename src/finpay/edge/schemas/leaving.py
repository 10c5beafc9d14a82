"""Schemas of leaving: the end of an account, and the export of a person's data."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from finpay.edge.schemas.fields import Password
from finpay.edge.schemas.identity import ActiveSession, ApiKey
from finpay.edge.schemas.responses import Entry
from finpay.formats import Timestamp
from finpay.identity.resources import User
from finpay.ledger.payment_requests import PaymentRequest
from finpay.ledger.resources import Account, Hold, Transaction, Withdrawal
from finpay.ledger.schedules import Schedule


class AccountClosing(Struct, frozen=True, forbid_unknown_fields=True):
    """The end of the account. `password` is the user's; `code` that of a second factor."""

    password: Password
    code: Annotated[str, Meta(max_length=64)] | None = None

    def checked(self) -> "AccountClosing":
        return self


class Export(Struct, frozen=True):
    """All data of a person, each list newest first."""

    object: Literal["export"]
    created_at: Timestamp
    user: User
    account: Account
    sessions: Sequence[ActiveSession]
    api_keys: Sequence[ApiKey]
    webhook_endpoints: Sequence[Any]
    holds: Sequence[Hold]
    withdrawals: Sequence[Withdrawal]
    payment_requests: Sequence[PaymentRequest]
    schedules: Sequence[Schedule]
    transactions: Sequence[Transaction]
    entries: Sequence[Entry]
