"""The typed answers: what FinPay says, as frozen structs.

Amounts and balances are integers in minor units of `currency`; times are aware datetimes in UTC.
Members that a newer server adds are ignored, and words of a closed list (`status`, `type`) stay
`str`: an older client must not fail on the answer to a payment that was made.
"""

from datetime import datetime
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class User(Struct, frozen=True):
    """A person with a login: `usr_…`."""

    id: str
    email: str
    name: str | None
    created_at: datetime


class Account(Struct, frozen=True):
    """A wallet, `acc_…`: `available` is `balance` less `held`; `version` counts its entries."""

    id: str
    balance: int
    available: int
    held: int
    currency: str
    status: str
    version: int
    created_at: datetime


class Entry(Struct, frozen=True):
    """One line of an account's ledger, `ent_…`: `amount` is negative where money left."""

    id: str
    transaction_id: str
    amount: int
    currency: str
    balance_after: int
    version: int
    created_at: datetime


class Transaction(Struct, frozen=True):
    """A movement of money, `txn_…`, as the caller sees it.

    `status` is pending, completed, failed or reversed; `type` transfer or funding; `direction` sent
    or received; `balance_after` the caller's own. `sender_id` and `receiver_id` are `acc_…`.
    """

    id: str
    type: str
    status: str
    direction: str
    amount: int
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    balance_after: int
    failure_code: str | None
    created_at: datetime


class Tokens(Struct, frozen=True):
    """What proves a login. The access token lives `expires_in` seconds."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str

    def __repr__(self) -> str:
        """Tokens are secrets: they never reach a log by accident."""
        return f"{type(self).__name__}(expires_in={self.expires_in})"


class Login(Tokens, frozen=True):
    """The answer to register and login."""

    user: User
    account: Account


class Health(Struct, frozen=True):
    """`status` is ok, degraded or down; `checks` has ok or down for postgres and redis."""

    status: str
    version: str
    checks: dict[str, str]


class Page(Struct, Generic[T], frozen=True):
    """A part of a list, newest first. `next_cursor` is None at the end."""

    data: tuple[T, ...]
    has_more: bool
    next_cursor: str | None
