"""Operators' commands on the command line: deposits, refunds, withdrawals, holds, limits, accounts.

Each is one SQL function that finpay_app may not execute, idempotent by key, as in
administration.py. On the command line the keys are those of the system account, and no second
operator has to approve.

FinPayError: validation_failed, idempotency_key_reuse, unavailable, and the code of a refusal (the
keys of OPERATOR_REFUSALS), with its members as extensions.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database
from finpay.errors import Code, FinPayError, validation_failed
from finpay.ids import Prefix
from finpay.ledger import reads, withdrawals
from finpay.ledger.administration import check_key
from finpay.ledger.operator_actions import CommandOrigin, run
from finpay.ledger.outcome import OPERATOR_REFUSALS, Outcome
from finpay.money import MAX_AMOUNT

MAX_REFERENCE_LENGTH: Final = 100
MAX_TEXT_LENGTH: Final = 500

_SQL: Final = queries.load("finpay.ledger", "operator_commands.sql")
_LAST: Final = UUID(int=2**128 - 1)  # above every id: the first page


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The stored answer of a command. `repeated`: the key was known, so nothing was done now."""

    members: dict[str, Any]
    repeated: bool


async def deposit(
    database: Database,
    target: str,
    amount: int,
    reference: str,
    *,
    description: str | None = None,
    key: str,
) -> CommandResult:
    """Moves money from the outside world to the account of `target`, acc_… or an e-mail address.

    FinPayError: validation_failed, receiver_not_found, reference_taken, receiver_unavailable,
    balance_limit, idempotency_key_reuse, unavailable.
    """
    account_id = await account_id_of(database, target)
    _check_amount(amount)
    _check_text("reference", reference, MAX_REFERENCE_LENGTH)
    request = ("deposit", account_id, amount, reference, description)
    return await _run(database, _SQL.create_deposit, key, request, ids.new_uuid(), *request[1:])


async def complete_withdrawal(
    database: Database, withdrawal: str, reference: str, *, key: str
) -> CommandResult:
    """Records that a withdrawal was paid out, under the reference of that payment."""
    target = _id("wdr", withdrawal)
    _check_text("reference", reference, MAX_REFERENCE_LENGTH)
    request = ("withdrawal complete", target, reference)
    return await _run(database, _SQL.end_withdrawal, key, request, ids.new_uuid(), *request[1:])


async def reject_withdrawal(
    database: Database, withdrawal: str, reason: str, *, key: str
) -> CommandResult:
    """Releases the money of a withdrawal, for a reason that its owner reads."""
    _check_text("reason", reason, MAX_TEXT_LENGTH)
    request = ("withdrawal reject", _id("wdr", withdrawal), reason)
    return await _run(database, _SQL.cancel_withdrawal, key, request, *request[1:])


async def refund(
    database: Database,
    transaction: str,
    amount: int | None,
    *,
    description: str | None = None,
    key: str,
) -> CommandResult:
    """Gives back a transfer, recalls a deposit or returns a withdrawal; without an amount all that
    is left of it."""
    target = _id("txn", transaction)
    if amount is not None:
        _check_amount(amount)
    request = ("transaction refund", target, amount, description)
    return await _run(database, _SQL.create_refund, key, request, ids.new_uuid(), *request[1:])


async def void_hold(database: Database, hold: str, *, key: str) -> CommandResult:
    """Releases what is left of a hold."""
    request = ("hold void", _id("hld", hold))
    return await _run(database, _SQL.release_hold, key, request, *request[1:])


async def set_limits(
    database: Database, target: str, single: int | None, daily: int | None, *, key: str
) -> CommandResult:
    """Sets both limits of an account, and what its owner may raise them to; None is no limit."""
    account_id = await account_id_of(database, target)
    for amount in (single, daily):
        if amount is not None:
            _check_amount(amount)
    request = ("account limits", account_id, single, daily)
    return await _run(database, _SQL.set_limits, key, request, *request[1:], True, True)


async def list_withdrawals(
    database: Database, *, status: str | None, before: UUID | None, limit: int
) -> Sequence[withdrawals.Withdrawal]:
    """Those of all accounts, newest first, at most `limit`, all before an id."""
    rows = await database.fetch(_SQL.list_withdrawals_of_all, before or _LAST, status, limit)
    return [withdrawals.Withdrawal(*row) for row in rows]


async def account(database: Database, target: str) -> reads.Account:
    """The account of `target`. FinPayError not_found."""
    account_id = await account_id_of(database, target)
    row = await database.fetch_one(_SQL.get_account, account_id)
    if row is None:
        raise FinPayError(Code.NOT_FOUND, f"There is no user account for {target}.")
    return reads.Account(*row)


async def entries(database: Database, account_id: UUID, limit: int) -> Sequence[reads.Entry]:
    """The newest entries of an account."""
    return await reads.entries(
        database, account_id, before_version=None, created_from=None, created_to=None, limit=limit
    )


async def account_id_of(database: Database, target: str) -> UUID:
    """Of acc_… or an e-mail address. FinPayError validation_failed, not_found."""
    if "@" not in target:
        return _id("acc", target)
    row = await database.fetch_one(_SQL.get_account_id_by_email, target)
    if row is None:
        raise FinPayError(Code.NOT_FOUND, f"There is no user account for {target}.")
    found: UUID = row["id"]
    return found


async def _run(
    database: Database, query: str, key: str, request: Sequence[object], *arguments: object
) -> CommandResult:
    check_key(key)
    fingerprint = hashlib.sha256(msgspec.json.encode(request)).digest()
    origin = CommandOrigin(None, key, fingerprint, f"operator:{key}")
    result = await run(database, query, origin, *arguments)
    outcome, answer = result.outcome, result.answer
    members = {} if answer is None else msgspec.json.decode(answer, type=dict[str, Any])
    refused = members.pop("code", None) if outcome is Outcome.DUPLICATE else None
    if outcome in {Outcome.COMPLETED, Outcome.DUPLICATE} and refused is None:
        return CommandResult(members, outcome is Outcome.DUPLICATE)
    raise _refusal(outcome if refused is None else Outcome(refused), members)


def _refusal(outcome: Outcome, members: dict[str, Any]) -> FinPayError:
    if outcome is Outcome.IDEMPOTENCY_KEY_REUSE:
        return FinPayError(
            Code.IDEMPOTENCY_KEY_REUSE,
            "The key was used before, with another command or other arguments. "
            "Nothing was done; use a new key.",
        )
    code, detail = OPERATOR_REFUSALS[outcome]
    shown = {name: value for name, value in members.items() if name != "code"}
    named = "".join(f" {name}: {value}." for name, value in shown.items() if value is not None)
    return FinPayError(code, f"{detail}{named}", extensions=shown)


def _check_amount(amount: int) -> None:
    if not 1 <= amount <= MAX_AMOUNT:
        raise validation_failed(
            f"The amount has to be 1 to {MAX_AMOUNT} minor units, and it is {amount}."
        )


def _check_text(name: str, text: str, most: int) -> None:
    if not 1 <= len(text) <= most or not text.isprintable():
        raise validation_failed(f"The {name} has to be one line of 1 to {most} characters.")


def _id(prefix: Prefix, text: str) -> UUID:
    try:
        return ids.decode(prefix, text)
    except ids.MalformedId as error:
        raise validation_failed(f"{text} is not valid: {error}.") from None
