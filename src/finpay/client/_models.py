"""The typed answers: what FinPay says, as frozen structs.

Amounts and balances are integers in minor units of `currency`; times are aware datetimes in UTC.
Members that a newer server adds are ignored, and words of a closed list (`status`, `type`) stay
`str`: an older client must not fail on the answer to a payment that was made.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar

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


class ItemError(Struct, frozen=True):
    """Why an item of a batch failed: `code` and `detail` as of a refusal of it alone.

    `transaction_id` names the failed transaction where one was recorded.
    """

    code: str
    detail: str
    request_id: str
    retryable: bool
    transaction_id: str | None = None


class BatchItem(Struct, frozen=True):
    """What became of one transfer: `status` is completed or failed, and one of the two is None."""

    index: int
    status: str
    transaction: Transaction | None
    error: ItemError | None


class Batch(Struct, frozen=True):
    """What became of many transfers, in the order in which they were sent."""

    data: tuple[BatchItem, ...]


class Subject(Struct, frozen=True):
    """What an event is about: the object after it, and its members that changed, as they were."""

    object: dict[str, Any]
    previous: dict[str, Any]


class Cause(Struct, frozen=True):
    """The request that caused an event, and the key that it came with."""

    id: str
    idempotency_key: str | None


class Event(Struct, frozen=True):
    """Something that happened to the account, `evt_…`; its `sequence` counts 1, 2, 3, …

    `request` and `actor` (`usr_…`) are None for whoever did not cause it.
    """

    id: str
    type: str
    created_at: datetime
    sequence: int
    data: Subject
    request: Cause | None
    actor: str | None


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


class WebhookEndpoint(Struct, frozen=True):
    """A place that is told of events, `whe_…`. `secret` is there when it is new, None later.

    `disabled_reason` is owner, gone or failing; `failing_since` when the failures began that have
    not ended yet.
    """

    id: str
    url: str
    description: str | None
    event_types: tuple[str, ...]
    enabled: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime
    secret: str | None
    previous_secret_expires_at: datetime | None

    def __repr__(self) -> str:
        """The secret never reaches a log by accident."""
        return f"{type(self).__name__}(id={self.id!r}, url={self.url!r}, enabled={self.enabled})"


class Attempt(Struct, frozen=True):
    """One call of an endpoint: `error` is None if it succeeded, `answer` begins with 2 kB of it."""

    number: int
    started_at: datetime
    duration_ms: int
    http_status: int | None
    error: str | None
    answer: str | None


class Delivery(Struct, frozen=True):
    """One event on its way to one endpoint, `whd_…`.

    `status` is pending, delivered, failed or canceled; `attempts` are the last ones, in order.
    """

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    status: str
    attempt_count: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    attempts: tuple[Attempt, ...]


class Replayed(Struct, frozen=True):
    """How many deliveries were queued."""

    queued: int


class Page(Struct, Generic[T], frozen=True):
    """A part of a list, newest first. `next_cursor` is None at the end."""

    data: tuple[T, ...]
    has_more: bool
    next_cursor: str | None
