"""`finpay account fund`, `freeze` and `unfreeze`: the command line alone. Idempotent by key.

Each is one SQL function that finpay_app may not execute, so the database given here logs in with
the owner URL and takes the role finpay_owner. The key belongs to the system account of the
account's currency; the same key with the same arguments answers what was answered then.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database
from finpay.errors import Code, FinPayError, validation_failed
from finpay.money import MAX_AMOUNT, Money

Status = Literal["active", "frozen"]

MAX_REASON_LENGTH: Final = 500  # one line of the audit log

_SQL: Final = queries.load("finpay.ledger", "administration.sql")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")  # as X-Idempotency-Key


@dataclass(frozen=True, slots=True)
class Funding:
    """Money that came in, as ledger.fund stored it.

    `amount` in minor units; `balance` is the account's right after it. `repeated`: the key was
    known, so nothing was done now and this is the answer of the first time.
    """

    transaction_id: str
    account_id: str
    amount: int
    currency: str
    balance: int
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A status that was set, and the one before; equal where there was nothing to change."""

    account_id: str
    status: Status
    previous: Status
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class _Account:
    id: UUID
    public_id: str
    currency: str


async def fund(database: Database, target: str, amount: int, key: str) -> Funding:
    """Moves `amount` minor units from the outside world to the account of `target`.

    `target` is acc_… or an e-mail as it is stored. FinPayError: validation_failed, not_found,
    idempotency_key_reuse, receiver_unavailable, balance_limit, unavailable.
    """
    check_key(key)
    if not 1 <= amount <= MAX_AMOUNT:
        raise validation_failed(
            f"The amount has to be 1 to {MAX_AMOUNT} minor units, and it is {amount}."
        )
    account = await _account(database, target)
    fingerprint = _fingerprint("account fund", account.public_id, amount)
    answer, repeated = await _call(
        database, account, _SQL.fund_account, ids.new_uuid(), account.id, amount, key, fingerprint
    )
    return replace(msgspec.json.decode(answer, type=Funding), repeated=repeated)


async def set_status(
    database: Database, target: str, status: Status, reason: str, key: str
) -> StatusChange:
    """Freezes or unfreezes the account of `target`, for a reason that the audit log keeps.

    `target` is acc_… or an e-mail as it is stored. FinPayError: validation_failed, not_found,
    idempotency_key_reuse, unavailable.
    """
    check_key(key)
    reason = reason.strip()
    if not 1 <= len(reason) <= MAX_REASON_LENGTH or not reason.isprintable():
        raise validation_failed(
            f"The reason has to be one line of 1 to {MAX_REASON_LENGTH} characters."
        )
    account = await _account(database, target)
    fingerprint = _fingerprint("account status", account.public_id, status, reason)
    answer, repeated = await _call(
        database, account, _SQL.set_account_status, account.id, status, reason, key, fingerprint
    )
    return replace(msgspec.json.decode(answer, type=StatusChange), repeated=repeated)


def check_key(key: str) -> None:
    """FinPayError validation_failed unless it can be an idempotency key."""
    if not _KEY.fullmatch(key):
        raise validation_failed(
            "The key has to be 1 to 255 visible ASCII characters without spaces."
        )


async def _account(database: Database, target: str) -> _Account:
    if "@" in target:
        row = await database.fetch_one(_SQL.get_account_by_email, target)
    else:
        try:
            account_id = ids.decode("acc", target)
        except ids.MalformedId as error:
            raise validation_failed(
                f"{target} is neither an account id (acc_…) nor an e-mail address: {error}."
            ) from None
        row = await database.fetch_one(_SQL.get_account_by_id, account_id)
    if row is None:
        raise _not_found(target)
    return _Account(*row)


def _fingerprint(*request: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(request)).digest()


async def _call(database: Database, account: _Account, query: str, *args: Any) -> tuple[str, bool]:
    """The stored answer, and whether it was stored before. FinPayError if it was refused."""
    row = await database.fetch_one(query, *args)
    assert row is not None, "a function with OUT parameters answers one row"  # noqa: S101
    outcome, answer = row
    if outcome in ("completed", "duplicate"):
        return answer, outcome == "duplicate"
    raise _refusal(outcome, account)


def _refusal(outcome: str, account: _Account) -> FinPayError:
    match outcome:
        case "idempotency_key_reuse":
            return FinPayError(
                Code.IDEMPOTENCY_KEY_REUSE,
                "The key was used before, with another command or other arguments. "
                "Nothing was done; use a new key.",
            )
        case "receiver_unavailable":
            return FinPayError(
                Code.RECEIVER_UNAVAILABLE,
                f"{account.public_id} is frozen. Nothing was done; unfreeze it first.",
            )
        case "balance_limit":
            limit = Money(MAX_AMOUNT, account.currency)
            return FinPayError(
                Code.BALANCE_LIMIT,
                f"The balance of {account.public_id} would exceed {limit}. Nothing was done.",
            )
        case _:
            return _not_found(account.public_id)


def _not_found(target: str) -> FinPayError:
    return FinPayError(Code.NOT_FOUND, f"There is no user account for {target}.")
