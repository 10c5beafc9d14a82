"""Schemas of responses: tokens, entries, lists, batches, health. Every field is always present."""

from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from finpay import ids
from finpay.edge.schemas.problems import CONTENT_TYPE, Problem
from finpay.formats import MinorUnits, Timestamp, format_timestamp
from finpay.identity import models
from finpay.identity.resources import User, user
from finpay.ledger import reads
from finpay.ledger.resources import (
    Account,
    Hold,
    Limits,
    Transaction,
    Withdrawal,
    account,
    entry_id,
)
from finpay.outbox.resources import Event

_encode: Final = msgspec.json.Encoder().encode


class TokenPair(Struct, frozen=True):
    """Access and refresh token. `expires_in`: seconds until the access token expires."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str


class LoginResult(Struct, frozen=True):
    """The user, the account, and a token pair."""

    user: User
    account: Account
    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str


class Entry(Struct, frozen=True):
    """One side of a transaction in the account. `amount` is negative where money left it."""

    id: str
    object: Literal["entry"]
    transaction_id: str
    amount: MinorUnits
    currency: str
    balance_after: MinorUnits
    version: int
    created_at: Timestamp


class EntryList(Struct, frozen=True):
    """One page of entries."""

    object: Literal["list"]
    data: list[Entry]
    has_more: bool
    next_cursor: str | None


class TransactionList(Struct, frozen=True):
    """One page of transactions."""

    object: Literal["list"]
    data: list[Transaction]
    has_more: bool
    next_cursor: str | None


class HoldList(Struct, frozen=True):
    """One page of holds."""

    object: Literal["list"]
    data: list[Hold]
    has_more: bool
    next_cursor: str | None


class WithdrawalList(Struct, frozen=True):
    """One page of withdrawals."""

    object: Literal["list"]
    data: list[Withdrawal]
    has_more: bool
    next_cursor: str | None


class StoredAnswer(Struct, frozen=True):
    """The answer that is stored with an idempotency key. `body` is its text, byte for byte."""

    object: Literal["idempotency_key"]
    key: str
    http_status: int
    content_type: str
    body: str
    transaction_id: str | None
    created_at: Timestamp


class DryRun(Struct, frozen=True):
    """What would become of a payment now. `outcome`: completed, or the code of the refusal. The
    balances are those after it; of a refusal those of now."""

    object: Literal["dry_run"]
    outcome: str
    amount: MinorUnits
    currency: str
    balance_after: MinorUnits
    available_after: MinorUnits
    limits: Limits


class TransferBatchItem(Struct, frozen=True):
    """The result of one item. `index` counts from 0 in the order of the request.

    One of `transaction` and `error` is null. `error` is the problem that the item would have had
    as a request of its own; insufficient funds are recorded, under its `transaction_id`.
    """

    index: int
    status: Literal["completed", "failed"]
    transaction: Transaction | None
    error: Problem | None


class TransferBatch(Struct, frozen=True):
    """The result of each transfer, in the order of the request."""

    object: Literal["batch"]
    data: list[TransferBatchItem]


class EventList(Struct, frozen=True):
    """One page of events."""

    object: Literal["list"]
    data: list[Event]
    has_more: bool
    next_cursor: str | None


class HealthChecks(Struct, frozen=True):
    """The state of each dependency."""

    postgres: Literal["ok", "down"]
    redis: Literal["ok", "down"]


class Health(Struct, frozen=True):
    """Whether money can move. degraded: yes, without Redis."""

    status: Literal["ok", "degraded", "down"]
    version: str
    checks: HealthChecks


class ReadinessChecks(Struct, frozen=True):
    """The state of each dependency. `integrity` is the last result of the continuous check of the
    ledger; it doesn't change the status, as another process would have the same result."""

    postgres: Literal["ok", "down"]
    redis: Literal["ok", "down"]
    integrity: Literal["ok", "failed", "unknown"]


class Readiness(Struct, frozen=True):
    """Whether to send requests here. warn: yes, without Redis."""

    status: Literal["ok", "warn", "down"]
    checks: ReadinessChecks


def encode(shape: Any) -> bytes:
    """JSON in UTF-8."""
    return _encode(shape)


def token_pair(pair: models.Tokens) -> TokenPair:
    return TokenPair(pair.access_token, "Bearer", pair.expires_in_s, pair.refresh_token)


def login_result(login: models.LoggedIn) -> LoginResult:
    pair = login.tokens
    return LoginResult(
        user=user(login.user),
        account=account(login.account),
        access_token=pair.access_token,
        token_type="Bearer",  # noqa: S106  the name of a scheme
        expires_in=pair.expires_in_s,
        refresh_token=pair.refresh_token,
    )


def session_ids(sessions: Sequence[UUID]) -> list[str]:
    return [ids.encode("ses", session) for session in sessions]


def entry(row: reads.Entry, currency: str) -> Entry:
    return Entry(
        id=ids.encode("ent", entry_id(row.transaction_id, row.amount)),
        object="entry",
        transaction_id=ids.encode("txn", row.transaction_id),
        amount=row.amount,
        currency=currency,
        balance_after=row.balance_after,
        version=row.version,
        created_at=format_timestamp(row.created_at),
    )


def stored_answer(row: reads.StoredAnswer) -> StoredAnswer:
    transaction_id = row.transaction_id
    return StoredAnswer(
        object="idempotency_key",
        key=row.key,
        http_status=row.http_status,
        content_type="application/json" if row.http_status < 400 else CONTENT_TYPE.decode(),
        body=row.answer,
        transaction_id=None if transaction_id is None else ids.encode("txn", transaction_id),
        created_at=format_timestamp(row.created_at),
    )


def item_template(index: int, transaction: str) -> str:
    """The encoding of TransferBatchItem around the template of a completed transfer."""
    return f'{{"index":{index},"status":"completed","transaction":{transaction},"error":null}}'
