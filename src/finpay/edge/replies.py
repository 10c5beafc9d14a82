"""What goes out: the shapes of answers. Every field is always present."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from finpay import ids
from finpay.identity import records
from finpay.ledger import reads

Time = Annotated[
    str, Meta(description="RFC 3339, UTC, microseconds.", examples=["2026-01-31T12:00:00.000000Z"])
]
MinorUnits = Annotated[int, Meta(description="Minor units of the currency.")]

_encode: Final = msgspec.json.Encoder().encode


class User(Struct, frozen=True):
    """Who is logged in."""

    id: str
    object: Literal["user"]
    email: str
    name: str | None
    created_at: Time


class Account(Struct, frozen=True):
    """The caller's account. `available` is `balance` less `held`."""

    id: str
    object: Literal["account"]
    balance: MinorUnits
    available: MinorUnits
    held: MinorUnits
    currency: str
    status: Literal["active", "frozen"]
    version: int
    created_at: Time


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
    created_at: Time


class Transaction(Struct, frozen=True):
    """Money that moved or was refused. `direction` and `balance_after` are the caller's own."""

    id: str
    object: Literal["transaction"]
    type: Annotated[str, Meta(examples=["transfer", "funding"])]
    status: Annotated[str, Meta(examples=["pending", "completed", "failed", "reversed"])]
    direction: Literal["sent", "received"]
    amount: MinorUnits
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    balance_after: MinorUnits
    failure_code: str | None
    created_at: Time


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


class Checks(Struct, frozen=True):
    """What the service depends on."""

    postgres: Literal["ok", "down"]
    redis: Literal["ok", "down"]


class Health(Struct, frozen=True):
    """Whether money can move: degraded means yes, without Redis."""

    status: Literal["ok", "degraded", "down"]
    version: str
    checks: Checks


class Readiness(Struct, frozen=True):
    """Whether to send requests here: warn means yes, without Redis."""

    status: Literal["ok", "warn", "down"]


def encode(shape: Any) -> bytes:
    """JSON in UTF-8."""
    return _encode(shape)


def time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def user(known: records.User) -> User:
    return User(
        id=ids.encode("usr", known.id),
        object="user",
        email=known.email,
        name=known.name,
        created_at=time(known.created_at),
    )


def tokens(pair: records.Tokens) -> Tokens:
    return Tokens(pair.access_token, "Bearer", pair.expires_in_s, pair.refresh_token)


def logged_in(login: records.LoggedIn) -> LoggedIn:
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


def account(state: Any) -> Account:
    """From the ledger's account, or identity's view of a new one: they share these fields."""
    return Account(
        id=ids.encode("acc", state.id),
        object="account",
        balance=state.balance,
        available=state.balance - state.held,
        held=state.held,
        currency=state.currency,
        status=state.status,
        version=state.version,
        created_at=time(state.created_at),
    )


def entry(row: reads.Entry, currency: str) -> Entry:
    return Entry(
        id=ids.encode("ent", _entry_id(row)),
        object="entry",
        transaction_id=ids.encode("txn", row.transaction_id),
        amount=row.amount,
        currency=currency,
        balance_after=row.balance_after,
        version=row.version,
        created_at=time(row.created_at),
    )


def transaction(step: reads.Step, account_id: UUID) -> Transaction:
    """The transaction as the owner of `account_id` may see it."""
    sender = ids.encode("acc", step.sender_id)
    return Transaction(
        id=ids.encode("txn", step.id),
        object="transaction",
        type=step.type,
        status=step.status,
        direction="sent" if step.sender_id == account_id else "received",
        amount=step.amount,
        currency=step.currency,
        sender_id=sender,
        receiver_id=ids.encode("acc", step.receiver_id),
        description=step.description,
        metadata=msgspec.json.decode(step.metadata, type=dict[str, str]),
        balance_after=step.balance_after,
        failure_code=step.failure_code,
        created_at=time(step.created_at),
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


def page(kind: type[Any], data: Sequence[Any], next_cursor: str | None) -> bytes:
    return _encode(kind("list", list(data), next_cursor is not None, next_cursor))


def _entry_id(row: reads.Entry) -> UUID:
    """Derived, so that no index has to keep it: the transaction's id, its last bit telling the
    side. Two entries of a transaction differ in it, and nothing else has this prefix."""
    return UUID(int=row.transaction_id.int & ~1 | (row.amount > 0))
