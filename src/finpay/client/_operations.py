"""Every operation of the API, once: where it goes, what it sends, what it gives back.

Both shells run these values; neither knows a path. Members that are None are not sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Generic, Literal, Required, TypedDict, TypeVar

from finpay import ids
from finpay.client._models import (
    Account,
    Batch,
    Entry,
    Event,
    Health,
    Login,
    Page,
    Tokens,
    Transaction,
    User,
)
from finpay.client._requests import encode
from finpay.errors import Code, FinPayError

T = TypeVar("T")

_API: Final = "/api/v1"
_MAX_KEY_LENGTH: Final = 255  # §3.3 of the contract, as is the range of characters
_NOTHING: Final = type(None)


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call: `result` is what an answer with a status of `success` is read as.

    `repeatable` says that sending it twice does no more than sending it once.
    """

    method: str
    path: str
    result: type[T]
    content: bytes | None = None
    params: Mapping[str, str | int] = field(default_factory=dict)
    idempotency_key: str | None = None
    repeatable: bool = True
    authenticated: bool = True
    success: frozenset[int] = frozenset({200, 201, 204})


class BatchTransfer(TypedDict, total=False):
    """What to send, and to whom: `receiver_id` (`acc_…`) or `receiver_email`, exactly one.

    `amount` is in minor units, `currency` the sender's unless given, `description` at most 500
    characters, `metadata` at most 20 pairs.
    """

    amount: Required[int]
    receiver_id: str | None
    receiver_email: str | None
    currency: str | None
    description: str | None
    metadata: Mapping[str, str] | None


class Transfer(BatchTransfer, total=False):
    """A transfer of its own. An `idempotency_key` of one's own survives a crash."""

    idempotency_key: str | None


class EntryFilters(TypedDict, total=False):
    """`created_from` is inclusive, `created_to` exclusive; `limit` is a page's size, 1 to 100."""

    created_from: datetime | None
    created_to: datetime | None
    limit: int | None


class EventFilters(EntryFilters, total=False):
    """`type` is one, or a group as `transaction.*`. With `after_sequence` the oldest come first."""

    type: str | None
    after_sequence: int | None


class TransactionFilters(EntryFilters, total=False):
    """Amounts are inclusive, in minor units; `idempotency_key` finds only the caller's own."""

    direction: Literal["sent", "received"] | None
    status: Literal["pending", "completed", "failed", "reversed"] | None
    amount_min: int | None
    amount_max: int | None
    counterparty_id: str | None
    idempotency_key: str | None


def register(email: str, password: str, name: str | None, currency: str | None) -> Operation[Login]:
    body = json_body({"email": email, "password": password, "name": name, "currency": currency})
    path = f"{_API}/auth/register"
    return Operation("POST", path, Login, body, repeatable=False, authenticated=False)


def login(email: str, password: str) -> Operation[Login]:
    body = json_body({"email": email, "password": password})
    path = f"{_API}/auth/login"
    return Operation("POST", path, Login, body, repeatable=False, authenticated=False)


def refresh(refresh_token: str) -> Operation[Tokens]:
    """Repeatable: within its grace the server takes the same token again."""
    body = json_body({"refresh_token": refresh_token})
    return Operation("POST", f"{_API}/auth/refresh", Tokens, body, authenticated=False)


def logout() -> Operation[None]:
    return Operation("POST", f"{_API}/auth/logout", _NOTHING, repeatable=False)


def change_password(current_password: str, new_password: str) -> Operation[None]:
    body = json_body({"current_password": current_password, "new_password": new_password})
    return Operation("POST", f"{_API}/auth/password", _NOTHING, body, repeatable=False)


def me() -> Operation[User]:
    return Operation("GET", f"{_API}/auth/me", User)


def account() -> Operation[Account]:
    return Operation("GET", f"{_API}/accounts", Account)


def entries(filters: EntryFilters) -> Operation[Page[Entry]]:
    return Operation("GET", f"{_API}/accounts/entries", Page[Entry], params=query(filters))


def send(transfer: Transfer, new_key: str) -> Operation[Transaction]:
    """Key and body are made here, once, so all tries carry the same ones."""
    members = _given(transfer)
    key = str(members.pop("idempotency_key", new_key))
    _check_key(key)
    path = f"{_API}/transactions"
    return Operation("POST", path, Transaction, encode(members), idempotency_key=key)


def send_batch(
    transfers: Sequence[BatchTransfer], mode: str, idempotency_key: str | None, new_key: str
) -> Operation[Batch]:
    """As `send`: made once for all tries."""
    key = idempotency_key or new_key
    _check_key(key)
    body = encode({"mode": mode, "transactions": [_given(transfer) for transfer in transfers]})
    return Operation("POST", f"{_API}/transactions/batch", Batch, body, idempotency_key=key)


def transaction(transaction_id: str) -> Operation[Transaction]:
    """A malformed id is refused here as FinPay would: only a well-formed one is put in a path."""
    try:
        ids.decode("txn", transaction_id)
    except ids.MalformedId as fault:
        raise FinPayError(Code.NOT_FOUND, f"No such transaction: {fault}.") from None
    return Operation("GET", f"{_API}/transactions/{transaction_id}", Transaction)


def transactions(filters: TransactionFilters) -> Operation[Page[Transaction]]:
    path = f"{_API}/transactions"
    return Operation("GET", path, Page[Transaction], params=query(filters))


def event(event_id: str) -> Operation[Event]:
    """As for a transaction: a malformed id never becomes a path."""
    try:
        ids.decode("evt", event_id)
    except ids.MalformedId as fault:
        raise FinPayError(Code.NOT_FOUND, f"No such event: {fault}.") from None
    return Operation("GET", f"{_API}/events/{event_id}", Event)


def events(filters: EventFilters) -> Operation[Page[Event]]:
    return Operation("GET", f"{_API}/events", Page[Event], params=query(filters))


def page_at(operation: Operation[Page[T]], cursor: str | None) -> Operation[Page[T]]:
    """The same list from another position; the filters are sent again with each cursor."""
    if cursor is None:
        return operation
    return replace(operation, params={**operation.params, "cursor": cursor})


def page_after(operation: Operation[Page[T]], page: Page[T]) -> Operation[Page[T]] | None:
    """What to ask for next, None at the end."""
    if page.next_cursor is None:
        return None
    # A cursor that leads to itself would be read for ever.
    if page.next_cursor == operation.params.get("cursor"):
        raise FinPayError(Code.CURSOR_INVALID, "The server gave the same cursor twice.")
    return page_at(operation, page.next_cursor)


def health() -> Operation[Health]:
    """503 has the same body: "down" is an answer here, not an error."""
    return Operation(
        "GET", f"{_API}/health", Health, authenticated=False, success=frozenset({200, 503})
    )


def _check_key(key: str) -> None:
    """Refuse as FinPay would: httpx can't even send some of these in a header."""
    if not 1 <= len(key) <= _MAX_KEY_LENGTH or any(not "!" <= symbol <= "~" for symbol in key):
        raise FinPayError(
            Code.IDEMPOTENCY_KEY_INVALID,
            f"An idempotency key has 1 to {_MAX_KEY_LENGTH} visible ASCII characters, no spaces.",
        )


def json_body(members: Mapping[str, object]) -> bytes:
    return encode(_given(members))


def query(filters: Mapping[str, object]) -> dict[str, str | int]:
    return {name: parameter(name, value) for name, value in _given(filters).items()}


def parameter(name: str, value: object) -> str | int:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} needs a time zone: a naive time could mean any of 24 hours")
        text = value.astimezone(UTC).isoformat(timespec="microseconds")
        return text.replace("+00:00", "Z")
    return value if isinstance(value, int) else str(value)


def _given(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}
