"""Closes an account: what has to be finished before, and what is erased after it."""

from typing import Final

from msgspec import Struct

from finpay.db import queries
from finpay.db.pool import Database, Executor
from finpay.ledger.changes import ChangeOrigin

ERASED_AT_ONCE: Final = 1_000  # stored answers, and events, of one commit

_SQL: Final = queries.load("finpay.ledger", "closing.sql")


class ClosingResult(Struct, frozen=True):
    """`fault` is None for an account that is closed now, else account_frozen, account_closed or
    account_not_closable; then the others are the balance and the numbers of what is open."""

    fault: str | None
    balance: int
    holds: int
    withdrawals: int
    approvals: int


async def close_account(
    transaction: Executor, origin: ChangeOrigin, public_url: str | None
) -> ClosingResult:
    """Closes it in the caller's transaction, rolled back for a fault. Conflict: try again."""
    user_id, request_id, address, *_ = origin.arguments()
    row = await transaction.fetch_one(_SQL.end_account, user_id, request_id, address, public_url)
    assert row is not None, "a function with OUT parameters returns one row"  # noqa: S101
    return ClosingResult(*row)


async def erase(database: Database) -> None:
    """Erases the stored answers and the events of closed accounts, in small commits."""
    while True:
        row = await database.fetch_one(_SQL.delete_answers, ERASED_AT_ONCE)
        if row is None or row["erased"] is None:
            return
