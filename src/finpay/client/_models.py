"""Accounts, transactions, requests, schedules, events and webhooks as the client reads them.

Frozen structs; those of the other parts are in the other files whose names end with _models.py.
Amounts and balances are integers in minor units of `currency`; times are aware datetimes in UTC.

These are not the server's structs, which have the same members (a test compares them with the
OpenAPI document): the server's are strict, write each time as text, and carry the limits of the
API's schemas. The client has to read a newer server too. It ignores members that it doesn't know,
and `status`, `type` and their like stay `str`: an older client must not fail on the response to a
payment that was made.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class User(Struct, frozen=True):
    """A person with a login, `usr_…`."""

    id: str
    email: str
    name: str | None
    created_at: datetime
    email_verified: bool = False


class PendingLimits(Struct, frozen=True):
    """Limits as they will be from `effective_at` on."""

    single: int | None
    daily: int | None
    effective_at: datetime


class Limits(Struct, frozen=True):
    """What the account may send at once, and in a day of UTC. None: no limit."""

    single: int | None
    daily: int | None
    sent_today: int
    resets_at: datetime
    pending: PendingLimits | None


class Account(Struct, frozen=True):
    """A wallet, `acc_…`: `available` is `balance` less `held`; `version` counts its entries."""

    id: str
    balance: int
    available: int
    held: int
    currency: str
    status: str
    version: int
    limits: Limits
    created_at: datetime


class Entry(Struct, frozen=True):
    """An entry of an account's ledger, `ent_…`. `amount` is negative for money sent."""

    id: str
    transaction_id: str
    amount: int
    currency: str
    balance_after: int
    version: int
    created_at: datetime


class Transaction(Struct, frozen=True):
    """A movement of money, `txn_…`, from the caller's side.

    `status`: completed, failed or reversed. `type`: transfer, funding, deposit, withdrawal or
    refund. `direction`: sent or received. `balance_after` and `available_after` are the caller's
    own. `origin`: the id of the hold, payment request, schedule or withdrawal it came of, or of the
    refunded transaction.
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
    available_after: int
    failure_code: str | None
    refunded_amount: int
    origin: str | None
    scheduled_for: datetime | None
    created_at: datetime


class Requester(Struct, frozen=True):
    """Who asks for money. `account_id` is None for a caller who is no party of the request."""

    account_id: str | None
    name: str | None


class PaymentRequest(Struct, frozen=True):
    """A request to be paid, `prq_…`.

    `status`: open, paid, declined, canceled or expired. `direction`: sent or received; None for
    a caller who is no party of it.
    """

    id: str
    status: str
    direction: str | None
    amount: int
    currency: str
    requester: Requester
    payer_email: str | None
    description: str | None
    metadata: dict[str, str]
    url: str | None
    transaction_id: str | None
    expires_at: datetime
    created_at: datetime | None


class Interval(Struct, frozen=True):
    """`count` days, weeks or months; `unit`: day, week or month."""

    unit: str
    count: int


class Schedule(Struct, frozen=True):
    """A transfer that repeats, `sch_…`. `status`: active, paused or ended.

    `runs` counts the occurrences that were tried; `next_at` is None unless it is active.
    """

    id: str
    status: str
    receiver_id: str
    amount: int
    currency: str
    description: str | None
    metadata: dict[str, str]
    start_at: datetime
    every: Interval | None
    timezone: str
    until: datetime | None
    occurrences: int | None
    next_at: datetime | None
    runs: int
    failures_in_a_row: int
    last_transaction_id: str | None
    last_failure_code: str | None
    created_at: datetime


class TransferBatchError(Struct, frozen=True):
    """Why a transfer of a batch failed: the members of the problem that it alone would get.

    `transaction_id`: the failed transaction, if one was recorded.
    """

    code: str
    detail: str
    request_id: str
    retryable: bool
    transaction_id: str | None = None


class TransferBatchItem(Struct, frozen=True):
    """The result of one transfer. `status`: completed (`error` is None) or failed."""

    index: int
    status: str
    transaction: Transaction | None
    error: TransferBatchError | None


class TransferBatch(Struct, frozen=True):
    """The results of a transfer batch, in the order of the request."""

    data: tuple[TransferBatchItem, ...]


class EventData(Struct, frozen=True):
    """The object after the event, and the previous values of its members that changed."""

    object: dict[str, Any]
    previous: dict[str, Any]


class EventRequest(Struct, frozen=True):
    """The request that caused an event, and its idempotency key."""

    id: str
    idempotency_key: str | None


class Event(Struct, frozen=True):
    """An event of the account, `evt_…`. Its `sequence` counts 1, 2, 3, …

    `request` and `actor` (`usr_…`) are None unless the account's own user caused it.
    """

    id: str
    type: str
    created_at: datetime
    sequence: int
    data: EventData
    request: EventRequest | None
    actor: str | None


class Health(Struct, frozen=True):
    """`status`: ok, degraded or down. `checks`: ok or down, for postgres and redis."""

    status: str
    version: str
    checks: dict[str, str]


class WebhookEndpoint(Struct, frozen=True):
    """A URL that receives events, `whe_…`. `secret` is None except when it is new.

    `disabled_reason`: owner, gone or failing. `failing_since`: the first failure since the last
    success.
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
        """Without the secret, so that it reaches no log."""
        return f"{type(self).__name__}(id={self.id!r}, url={self.url!r}, enabled={self.enabled})"


class DeliveryAttempt(Struct, frozen=True):
    """One request to an endpoint. `error` is None if it succeeded; `answer`: 2 kB of its body."""

    number: int
    started_at: datetime
    duration_ms: int
    http_status: int | None
    error: str | None
    answer: str | None


class Delivery(Struct, frozen=True):
    """The delivery of one event to one endpoint, `whd_…`.

    `status`: pending, delivered, failed or canceled. `attempts`: the newest ones, in order.
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
    attempts: tuple[DeliveryAttempt, ...]


class ReplayResult(Struct, frozen=True):
    """The number of deliveries queued."""

    queued: int


class Page(Struct, Generic[T], frozen=True):
    """A page of a list. `next_cursor` is None at the end."""

    data: tuple[T, ...]
    has_more: bool
    next_cursor: str | None
