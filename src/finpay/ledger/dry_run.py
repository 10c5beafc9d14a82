"""Dry runs: the outcome that a payment would have, by the rules of ledger.post_transfers."""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from finpay.db import queries
from finpay.db.pool import Database

EXHAUSTED: Final = "exhausted"
MAX_UNKNOWN_RECEIVERS: Final = 20  # of a user and day: a dry run must not find out who has accounts

_SQL: Final = queries.load("finpay.ledger")


@dataclass(frozen=True, slots=True)
class Payment:
    """A transfer, hold or refund to try. `amount` None: all that is left of the `target`."""

    mode: Literal["transfer", "hold", "refund"]
    amount: int | None
    currency: str | None = None
    receiver_id: UUID | None = None
    receiver_email: str | None = None
    target: UUID | None = None
    if_version: int | None = None
    if_balance_gte: int | None = None


class DryRun(Struct, frozen=True):
    """`outcome` is one of the ledger's, or EXHAUSTED. `balance` and `available` are those after it;
    of a refused one those of now. `limits` is JSON."""

    outcome: str
    amount: int
    currency: str
    balance: int
    available: int
    limits: str


async def check(database: Database, account_id: UUID, payment: Payment) -> DryRun:
    """The outcome that the payment would have now."""
    row = await database.fetch_one(
        _SQL.check_payment,
        payment.mode,
        account_id,
        payment.amount,
        payment.currency,
        payment.receiver_id,
        payment.receiver_email,
        payment.target,
        payment.if_version,
        payment.if_balance_gte,
    )
    assert row is not None, "a function with OUT parameters returns one row"  # noqa: S101
    return DryRun(*row)
