"""One call of ledger.post_transfers: typed in, typed out."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database
from finpay.ledger.outcome import Outcome

_SQL = queries.load("finpay.ledger", "posting.sql")


@dataclass(frozen=True, slots=True)
class Transfer:
    """One item: who sends what to whom, and what to answer.

    `amount` is in minor units. Exactly one of `receiver_id` and `receiver_email` is set.
    `currency` None means the sender's. `metadata` is a JSON object as text. `reply` is the body of
    the answer, a format() string with four places: currency, receiver, balance after, time.
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


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of one item.

    `answer` is the stored body, byte for byte; `fingerprint` is what its key belongs to,
    `transaction_id` what was recorded under it. The sequences are those of the accounts that
    changed, None where they did not.
    """

    outcome: Outcome
    http_status: int
    answer: bytes
    fingerprint: bytes
    transaction_id: UUID | None
    sender_sequence: int | None
    receiver_user: UUID | None
    receiver_sequence: int | None


async def post(
    database: Database, items: Sequence[Transfer], refusals: Sequence[str]
) -> list[Posted]:
    """Posts the batch in one statement and one commit. Results are in the order of `items`."""
    emails = [item.receiver_email for item in items]
    row = await database.fetch_one(
        _SQL.post_transfers,
        [item.id for item in items],
        [item.sender_id for item in items],
        [item.receiver_id for item in items],
        emails if any(emails) else None,
        [item.amount for item in items],
        [item.currency for item in items],
        [item.description for item in items],
        [item.metadata for item in items],
        [item.key for item in items],
        [item.fingerprint for item in items],
        [item.request_id for item in items],
        [item.address for item in items],
        [item.reply for item in items],
        refusals,
    )
    assert row is not None, "a function with OUT parameters answers one row"  # noqa: S101
    return [
        Posted(Outcome(outcome), http_status, answer.encode(), *rest)
        for outcome, http_status, answer, *rest in zip(*row, strict=True)
    ]
