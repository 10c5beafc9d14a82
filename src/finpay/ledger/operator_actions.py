"""What operators do to money and accounts, each one SQL function, by HTTP and command line.

The database given here takes the role finpay_operator, or finpay_owner on the command line. A
function decides under the locks of the accounts and commits the change with its key, events and
audit; a refusal is stored with the key too. Each function here returns what its command was
answered, refusals too; amounts are in minor units. `Unavailable` if PostgreSQL is.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database
from finpay.ledger.outcome import Outcome

_SQL: Final = queries.load("finpay.ledger", "operator_commands.sql")


class CommandOrigin(Struct, frozen=True):
    """Who commands, under which key: the members of ledger.operator_origin.

    The operator is None on the command line. `approval_above` is JSON of the amounts above which a
    second operator has to approve, by currency. `refusals` are the problems of the outcomes as
    templates of PostgreSQL's format(); without them a refusal is JSON of its code and its members.
    """

    operator_id: UUID | None
    key: str
    fingerprint: bytes
    request_id: str
    address: str | None = None
    approval_above: str | None = None
    refusals: Sequence[str] | None = None


class CommandResult(Struct, frozen=True):
    """What a command was answered, as it is stored with its key; `users` have a changed account."""

    outcome: Outcome
    http_status: int
    answer: str | None
    fingerprint: bytes | None
    transaction_id: UUID | None
    users: Sequence[UUID]


class NewDeposit(Struct, frozen=True):
    """Money that has arrived outside, under the reference that it has there."""

    account_id: UUID
    amount: int
    reference: str
    description: str | None


class LimitsChange(Struct, frozen=True):
    """The limits that are given are set; None is no limit."""

    single: int | None
    daily: int | None
    has_single: bool
    has_daily: bool


async def deposit(database: Database, origin: CommandOrigin, new: NewDeposit) -> CommandResult:
    return await run(
        database,
        _SQL.create_deposit,
        origin,
        ids.new_uuid(),
        new.account_id,
        new.amount,
        new.reference,
        new.description,
    )


async def complete_withdrawal(
    database: Database, origin: CommandOrigin, withdrawal_id: UUID, reference: str
) -> CommandResult:
    """Records that a withdrawal was paid out, under the reference of that payment."""
    query = _SQL.end_withdrawal
    return await run(database, query, origin, ids.new_uuid(), withdrawal_id, reference)


async def reject_withdrawal(
    database: Database, origin: CommandOrigin, withdrawal_id: UUID, reason: str
) -> CommandResult:
    """Releases the money of a withdrawal, for a reason that its owner reads."""
    return await run(database, _SQL.cancel_withdrawal, origin, withdrawal_id, reason)


async def refund(
    database: Database,
    origin: CommandOrigin,
    transaction_id: UUID,
    amount: int | None,
    description: str | None,
) -> CommandResult:
    """Gives money back, by default all that is left of the transaction."""
    query = _SQL.create_refund
    return await run(database, query, origin, ids.new_uuid(), transaction_id, amount, description)


async def void_hold(database: Database, origin: CommandOrigin, hold_id: UUID) -> CommandResult:
    """Releases what is left of a hold."""
    return await run(database, _SQL.release_hold, origin, hold_id)


async def set_limits(
    database: Database, origin: CommandOrigin, account_id: UUID, change: LimitsChange
) -> CommandResult:
    """Sets limits of an account, and what its owner may raise them to."""
    return await run(
        database,
        _SQL.set_limits,
        origin,
        account_id,
        change.single,
        change.daily,
        change.has_single,
        change.has_daily,
    )


async def set_status(
    database: Database, origin: CommandOrigin, account_id: UUID, status: str, reason: str
) -> CommandResult:
    """Freezes an account, or makes it active again: `status` is active or frozen."""
    return await run(database, _SQL.set_status, origin, account_id, status, reason)


async def decide_approval(
    database: Database, origin: CommandOrigin, approval_id: UUID, *, approve: bool
) -> CommandResult:
    """Does what was asked for, or rejects it."""
    return await run(database, _SQL.end_approval, origin, approval_id, approve, ids.new_uuid())


async def run(
    database: Database, query: str, origin: CommandOrigin, *arguments: object
) -> CommandResult:
    """One call of a command: `query` begins with the members of its origin."""
    row = await database.fetch_one(
        query,
        origin.operator_id,
        origin.key,
        origin.fingerprint,
        origin.request_id,
        origin.address,
        origin.approval_above,
        origin.refusals,
        *arguments,
    )
    assert row is not None, "a function with a composite result returns one row"  # noqa: S101
    return CommandResult(
        Outcome(row["outcome"]),
        row["http_status"],
        row["answer"],
        row["fingerprint"],
        row["transaction_id"],
        row["users"] or (),
    )
