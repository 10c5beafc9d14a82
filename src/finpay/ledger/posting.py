"""One call of ledger.post_transfers: typed in, typed out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from msgspec import Struct

from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.ledger.outcome import Outcome

Mode = Literal[
    "transfer",
    "independent",
    "atomic",
    "hold",
    "capture",
    "void",
    "refund",
    "withdrawal",
    "cancel",
    "pay",
]

_SQL = queries.load("finpay.ledger")


class Transfer(Struct, frozen=True, gc=False):
    """One item: who sends what to whom, and what to answer.

    `amount` is in minor units. Exactly one of `receiver_id` and `receiver_email` is set.
    `currency` None means the sender's. `metadata` is a JSON object as text. `reply` is the body of
    the answer, a format() string with four positions: currency, receiver, balance after, time.
    """

    id: UUID
    sender_id: UUID
    receiver_id: UUID | None
    receiver_email: str | None
    amount: int
    currency: str | None
    description: str | None
    metadata: str
    key: str
    fingerprint: bytes
    request_id: str
    address: str | None
    reply: str

    @property
    def mode(self) -> Mode:
        return "transfer"

    @property
    def items(self) -> "Sequence[Transfer]":
        """It is a request of one item."""
        return (self,)


class TransferItem(Struct, frozen=True, gc=False):
    """One transfer of a transfer batch: the fields of a Transfer that differ by item."""

    id: UUID
    receiver_id: UUID | None
    receiver_email: str | None
    amount: int
    currency: str | None
    description: str | None
    metadata: str
    reply: str


class TransferBatch(Struct, frozen=True):
    """Many transfers of one sender under one key: independent, or all or none."""

    sender_id: UUID
    mode: Mode
    items: Sequence[TransferItem]
    key: str
    fingerprint: bytes
    request_id: str
    address: str | None


class Operation(Struct, frozen=True, gc=False):
    """A request of one item that is more than a plain transfer.

    `sender_id` is the account of who acts: of a capture, a void and a refund it is the receiver of
    what they are about, the `target`. `amount` None: all that is left of it, or what a payment
    request asks for. `metadata` of a withdrawal is its destination. `if_version` and
    `if_balance_gte` are preconditions. `id` is that of the transaction, hold or withdrawal that it
    makes. For `reply` see ledger.compose_answers.
    """

    mode: Mode
    id: UUID
    sender_id: UUID
    key: str
    fingerprint: bytes
    request_id: str
    address: str | None
    reply: str
    receiver_id: UUID | None = None
    receiver_email: str | None = None
    amount: int | None = None
    currency: str | None = None
    description: str | None = None
    metadata: str = "{}"
    target: UUID | None = None
    expires_in_s: int | None = None
    final: bool | None = None
    if_version: int | None = None
    if_balance_gte: int | None = None

    @property
    def items(self) -> "Sequence[Operation]":
        """It is a request of one item."""
        return (self,)


Posting: TypeAlias = Transfer | TransferBatch | Operation

_NO_OPERATION: Final = Operation("transfer", UUID(int=0), UUID(int=0), "", b"", "", None, "")


class PostingResult(Struct, frozen=True):
    """The result of one request.

    `answer` is the stored body, byte for byte; `fingerprint` is that of the key's first request;
    `transaction_id` is the transaction recorded under the key, None for transfer batches.
    `sender_sequence` is None where the sender did not change; `receivers` are the users whose
    accounts changed, and their last sequences. `items` are the outcomes of the items, in order:
    None for one that was not tried or was reverted.
    """

    outcome: Outcome
    http_status: int
    answer: bytes
    fingerprint: bytes
    transaction_id: UUID | None
    sender_sequence: int | None
    receivers: Mapping[UUID, int]
    items: Sequence[str | None]


async def post(
    database: Database,
    requests: Sequence[Posting],
    refusals: Sequence[str],
    wake: Callable[[], None] = lambda: None,
    public_url: str | None = None,
) -> list[PostingResult]:
    """Posts the batch in one statement and one commit. Results are in the order of `requests`.

    `refusals` are two bodies per Outcome, for a transfer and for an item of a transfer batch, and
    three of payments of requests: not_found, forbidden and request_not_open. `wake` is called after
    a commit that left webhooks to deliver. `public_url` is where payment requests are shown.
    """
    items = [item for request in requests for item in request.items]
    emails = [item.receiver_email for item in items]
    # By number: PostgreSQL orders UUIDs so, and to hash and compare numbers takes a fifth.
    senders = [request.sender_id for request in requests]
    receivers = [item.receiver_id for item in items]
    accounts = {account.int: account for account in senders + receivers if account is not None}
    numbers = sorted(accounts)
    positions = dict(zip(numbers, range(1, len(numbers) + 1), strict=True))
    row = await database.fetch_one(
        _SQL.post_transfers,
        [accounts[number] for number in numbers],
        [positions[sender.int] for sender in senders],
        [request.key for request in requests],
        [request.fingerprint for request in requests],
        [request.request_id for request in requests],
        [request.address for request in requests],
        [request.mode for request in requests],
        [len(request.items) for request in requests],
        *_operation_arguments(requests),
        [item.id for item in items],
        [None if receiver is None else positions[receiver.int] for receiver in receivers],
        _given(emails),
        [item.amount for item in items],
        _given([item.currency for item in items]),
        _given([item.description for item in items]),
        [item.metadata for item in items],
        [item.reply for item in items],
        refusals,
        public_url,
    )
    assert row is not None, "a function with OUT parameters answers one row"  # noqa: S101
    if row["queued"]:
        wake()
    return _posted(requests, row)


def _operation_arguments(requests: Sequence[Posting]) -> Sequence[list[Any] | None]:
    """Targets, expiries, finals and preconditions; None where no request is an operation."""
    if not any(type(request) is Operation for request in requests):
        return (None,) * 5
    operations = [
        request if isinstance(request, Operation) else _NO_OPERATION for request in requests
    ]
    return [
        [each.target for each in operations],
        _given([each.expires_in_s for each in operations]),
        _given([each.final for each in operations]),
        _given([each.if_version for each in operations]),
        _given([each.if_balance_gte for each in operations]),
    ]


def _given(values: list[Any]) -> list[Any] | None:
    """None if each element is None, which costs the driver half a microsecond."""
    return None if values.count(None) == len(values) else values


def _posted(requests: Sequence[Posting], row: Record) -> list[PostingResult]:
    of_requests = zip(*row[:6], strict=True)
    outcomes, users, sequences = row[6:9]
    results: list[PostingResult] = []
    first = 0
    for request, columns in zip(requests, of_requests, strict=True):
        outcome, http_status, answer, fingerprint, transaction_id, sender_sequence = columns
        last = first + len(request.items)
        results.append(
            PostingResult(
                Outcome(outcome),
                http_status,
                answer.encode(),
                fingerprint,
                transaction_id,
                sender_sequence,
                _receivers(users, sequences, first, last),
                outcomes[first:last],
            )
        )
        first = last
    return results


def _receivers(
    users: Sequence[UUID | None], sequences: Sequence[int], first: int, last: int
) -> Mapping[UUID, int]:
    """Sequences only grow, so the last of a user is the one that stays."""
    pairs = zip(users[first:last], sequences[first:last], strict=True)
    return {user: sequence for user, sequence in pairs if user is not None}
