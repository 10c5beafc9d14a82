"""Schemas of responses. Every field is always present."""

from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from finpay import ids
from finpay.edge.schemas.problems import Problem
from finpay.formats import MinorUnits, Timestamp, format_timestamp
from finpay.identity import models
from finpay.identity.resources import User, user
from finpay.ledger import reads
from finpay.ledger.resources import Account, Transaction, account, entry_id
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


def transfer_template(
    transaction_id: UUID,
    amount: int,
    sender: str,
    description: str | None,
    metadata: bytes,
) -> str:
    """The body of a completed transfer, for PostgreSQL's format().

    Equal to the encoding of Transaction, byte for byte; a test compares them. The ledger fills in
    the placeholders: currency, receiver, balance after, time.
    """
    text = _encode(description).decode().replace("%", "%%")
    details = metadata.decode().replace("%", "%%")
    return (
        f'{{"id":"{ids.encode("txn", transaction_id)}","object":"transaction","type":"transfer",'
        f'"status":"completed","direction":"sent","amount":{amount},"currency":"%1$s",'
        f'"sender_id":"{sender}","receiver_id":"%2$s","description":{text},"metadata":{details},'
        '"balance_after":%3$s,"failure_code":null,"created_at":"%4$s"}'
    )


def item_template(index: int, transaction: str) -> str:
    """The encoding of TransferBatchItem around the template of a completed transfer."""
    return f'{{"index":{index},"status":"completed","transaction":{transaction},"error":null}}'
