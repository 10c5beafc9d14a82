"""What goes out: the shapes of answers. Every field is always present."""

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
from finpay.ledger.resources import Account, Transaction, account
from finpay.outbox.resources import Event

_encode: Final = msgspec.json.Encoder().encode


class Tokens(Struct, frozen=True):
    """A working pair. `expires_in` counts seconds of the access token."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str


class LoggedIn(Struct, frozen=True):
    """The user, the account, and a working pair of tokens."""

    user: User
    account: Account
    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str


class Entry(Struct, frozen=True):
    """One movement of the account: negative where money left."""

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


class BatchItem(Struct, frozen=True):
    """What became of one item: `index` counts from 0 in the order of the request.

    Of `transaction` and `error` one is null. `error` is the problem that the item alone would have
    been answered with; a refusal for lack of funds is recorded, under its `transaction_id`.
    """

    index: int
    status: Literal["completed", "failed"]
    transaction: Transaction | None
    error: Problem | None


class Batch(Struct, frozen=True):
    """What became of each transfer, in the order of the request."""

    object: Literal["batch"]
    data: list[BatchItem]


class EventList(Struct, frozen=True):
    """One page of events."""

    object: Literal["list"]
    data: list[Event]
    has_more: bool
    next_cursor: str | None


class Checks(Struct, frozen=True):
    """What the service depends on."""

    postgres: Literal["ok", "down"]
    redis: Literal["ok", "down"]


class Health(Struct, frozen=True):
    """Whether money can move: degraded means yes, without Redis."""

    status: Literal["ok", "degraded", "down"]
    version: str
    checks: Checks


class ReadinessChecks(Struct, frozen=True):
    """What was looked at. `integrity` is what the continuous check of the ledger last found; it
    never changes the status, as no other process would know better."""

    postgres: Literal["ok", "down"]
    redis: Literal["ok", "down"]
    integrity: Literal["ok", "failed", "unknown"]


class Readiness(Struct, frozen=True):
    """Whether to send requests here: warn means yes, without Redis."""

    status: Literal["ok", "warn", "down"]
    checks: ReadinessChecks


def encode(shape: Any) -> bytes:
    """JSON in UTF-8."""
    return _encode(shape)


def tokens(pair: models.Tokens) -> Tokens:
    return Tokens(pair.access_token, "Bearer", pair.expires_in_s, pair.refresh_token)


def logged_in(login: models.LoggedIn) -> LoggedIn:
    pair = login.tokens
    return LoggedIn(
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
        id=ids.encode("ent", _entry_id(row)),
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
    """The body of a completed transfer, with places for what only the ledger knows.

    It is Transaction's encoding, to the byte: a test holds the two together. The places are
    PostgreSQL's format(): currency, receiver, balance after, time.
    """
    told = _encode(description).decode().replace("%", "%%")
    details = metadata.decode().replace("%", "%%")
    return (
        f'{{"id":"{ids.encode("txn", transaction_id)}","object":"transaction","type":"transfer",'
        f'"status":"completed","direction":"sent","amount":{amount},"currency":"%1$s",'
        f'"sender_id":"{sender}","receiver_id":"%2$s","description":{told},"metadata":{details},'
        '"balance_after":%3$s,"failure_code":null,"created_at":"%4$s"}'
    )


def item_template(index: int, transaction: str) -> str:
    """BatchItem's encoding of a completed transfer, around its template."""
    return f'{{"index":{index},"status":"completed","transaction":{transaction},"error":null}}'


def page(kind: type[Any], data: Sequence[Any], next_cursor: str | None) -> bytes:
    return _encode(kind("list", list(data), next_cursor is not None, next_cursor))


def _entry_id(row: reads.Entry) -> UUID:
    """Derived, so that no index has to keep it: the transaction's id, its last bit telling the
    side. Two entries of a transaction differ in it, and nothing else has this prefix."""
    return UUID(int=row.transaction_id.int & ~1 | (row.amount > 0))
