"""Every operation on users, accounts, transactions and events: path, body and result.

Neither client knows a path. Members that are None are not sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Final, Generic, Literal, Required, TypedDict, TypeVar

from finpay import ids
from finpay.client._identity_models import (
    Login,
    Tokens,
)
from finpay.client._models import (
    Account,
    Entry,
    Event,
    Health,
    Page,
    Transaction,
    TransferBatch,
    User,
)
from finpay.client._requests import HttpRequest, encode, make_request
from finpay.client._statement_models import Balance, Statement
from finpay.errors import Code, FinPayError

T = TypeVar("T")

_API: Final = "/api/v1"
_MAX_KEY_LENGTH: Final = 255  # the server's limit; longer keys are 400 idempotency_key_invalid
_NOTHING: Final = type(None)


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call: a response with a status of `success` is read as `result`.

    `repeatable`: sending it twice has the same effect as sending it once.
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
    media_type: str = "application/json"  # of a result of type bytes: the body as it is

    @property
    def is_payment(self) -> bool:
        return self.idempotency_key is not None

    def request(self, base_url: str, access_token: str | None) -> HttpRequest:
        """The request of one attempt. Attempts differ in the access token at most."""
        return make_request(
            base_url + self.path,
            self.method,
            content=self.content,
            headers={"x-idempotency-key": self.idempotency_key},
            params=self.params,
            access_token=access_token if self.authenticated else None,
        )


class TransferParams(TypedDict, total=False):
    """One transfer of a batch: `receiver_id` (`acc_…`) or `receiver_email`, exactly one.

    `amount` is in minor units, `currency` the sender's unless given, `description` at most 500
    characters, `metadata` at most 20 pairs.
    """

    amount: Required[int]
    receiver_id: str | None
    receiver_email: str | None
    currency: str | None
    description: str | None
    metadata: Mapping[str, str] | None


class SendParams(TransferParams, total=False):
    """A transfer of its own. Store your own `idempotency_key` first to be safe over a crash.

    `if_version` and `if_balance_gte`: refuse unless the account still is as it was read.
    """

    idempotency_key: str | None
    if_version: int | None
    if_balance_gte: int | None


class EntryFilters(TypedDict, total=False):
    """`created_from` is inclusive, `created_to` exclusive; `limit` is the page size, 1 to 100."""

    created_from: datetime | None
    created_to: datetime | None
    limit: int | None


class EventFilters(EntryFilters, total=False):
    """`type`: one type, or a group such as `transaction.*`. `after_sequence`: oldest first."""

    type: str | None
    after_sequence: int | None


class TransactionFilters(EntryFilters, total=False):
    """Amounts are inclusive, in minor units; `idempotency_key` finds only the caller's own.

    `origin`: the id of a hold, request, schedule, withdrawal or refunded transaction. `metadata`:
    one pair, compared exactly.
    """

    direction: Literal["sent", "received"] | None
    status: Literal["completed", "failed", "reversed"] | None
    amount_min: int | None
    amount_max: int | None
    counterparty_id: str | None
    type: Literal["transfer", "funding", "deposit", "withdrawal", "refund"] | None
    origin: str | None
    metadata: Mapping[str, str] | None
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
    """Repeatable: the server answers a token again until its successor is used."""
    body = json_body({"refresh_token": refresh_token})
    return Operation("POST", f"{_API}/auth/refresh", Tokens, body, authenticated=False)


def logout() -> Operation[None]:
    return Operation("POST", f"{_API}/auth/logout", _NOTHING, repeatable=False)


def change_password(current_password: str, new_password: str) -> Operation[Tokens]:
    body = json_body({"current_password": current_password, "new_password": new_password})
    return Operation("POST", f"{_API}/auth/password", Tokens, body, repeatable=False)


def me() -> Operation[User]:
    return Operation("GET", f"{_API}/auth/me", User)


def account() -> Operation[Account]:
    return Operation("GET", f"{_API}/accounts", Account)


def entries(filters: EntryFilters) -> Operation[Page[Entry]]:
    return Operation("GET", f"{_API}/accounts/entries", Page[Entry], params=query(filters))


def balance(at: datetime | None, version: int | None) -> Operation[Balance]:
    path = f"{_API}/accounts/balance"
    return Operation("GET", path, Balance, params=query({"at": at, "version": version}))


def statement(start: date, end: date, timezone: str | None) -> Operation[Statement]:
    path = f"{_API}/accounts/statement"
    params = query({"from": start, "to": end, "timezone": timezone, "format": "json"})
    return Operation("GET", path, Statement, params=params)


def statement_file(
    start: date, end: date, timezone: str | None, file_format: Literal["csv", "pdf"]
) -> Operation[bytes]:
    operation = statement(start, end, timezone)
    return Operation(
        "GET",
        operation.path,
        bytes,
        params={**operation.params, "format": file_format},
        media_type={"csv": "text/csv", "pdf": "application/pdf"}[file_format],
    )


def send(transfer: SendParams, new_key: str) -> Operation[Transaction]:
    """Key and body are made once, so every attempt carries the same ones."""
    members = without_none(transfer)
    key = str(members.pop("idempotency_key", new_key))
    check_key(key)
    path = f"{_API}/transactions"
    return Operation("POST", path, Transaction, encode(members), idempotency_key=key)


def send_batch(
    transfers: Sequence[TransferParams], mode: str, idempotency_key: str | None, new_key: str
) -> Operation[TransferBatch]:
    """Key and body are made once, so every attempt carries the same ones."""
    key = new_key if idempotency_key is None else idempotency_key
    check_key(key)
    body = encode({"mode": mode, "transactions": [without_none(each) for each in transfers]})
    path = f"{_API}/transactions/batch"
    return Operation("POST", path, TransferBatch, body, idempotency_key=key)


def transaction(transaction_id: str) -> Operation[Transaction]:
    return Operation("GET", f"{_API}/transactions/{checked('txn', transaction_id)}", Transaction)


def transactions(filters: TransactionFilters) -> Operation[Page[Transaction]]:
    others = {name: value for name, value in filters.items() if name != "metadata"}
    pairs = {f"metadata[{key}]": text for key, text in (filters.get("metadata") or {}).items()}
    path = f"{_API}/transactions"
    return Operation("GET", path, Page[Transaction], params=query({**others, **pairs}))


def event(event_id: str) -> Operation[Event]:
    return Operation("GET", f"{_API}/events/{checked('evt', event_id)}", Event)


def events(filters: EventFilters) -> Operation[Page[Event]]:
    return Operation("GET", f"{_API}/events", Page[Event], params=query(filters))


def health() -> Operation[Health]:
    """503 has the same body: "down" is a result, not an error."""
    return Operation(
        "GET", f"{_API}/health", Health, authenticated=False, success=frozenset({200, 503})
    )


def page_at(operation: Operation[Page[T]], cursor: str | None) -> Operation[Page[T]]:
    """The same list at another position; every request repeats the filters."""
    if cursor is None:
        return operation
    return replace(operation, params={**operation.params, "cursor": cursor})


def page_after(operation: Operation[Page[T]], page: Page[T]) -> Operation[Page[T]] | None:
    """The operation that reads the next page; None at the end."""
    if page.next_cursor is None:
        return None
    # A cursor that leads to itself would be read without end.
    if page.next_cursor == operation.params.get("cursor"):
        raise FinPayError(
            Code.CURSOR_INVALID,
            "The server returned the same cursor twice: the list was not read to its end.",
        )
    return page_at(operation, page.next_cursor)


def checked(prefix: ids.Prefix, text: str) -> str:
    """The id, if it is well-formed: a malformed one is never put in a path."""
    try:
        ids.decode(prefix, text)
    except ids.MalformedId as fault:
        raise FinPayError(Code.NOT_FOUND, f"Not found: {fault}.") from None
    return text


def json_body(members: Mapping[str, object]) -> bytes:
    """The members that are not None, as JSON."""
    return encode(without_none(members))


def query(filters: Mapping[str, object]) -> dict[str, str | int]:
    """The filters that are not None, as query parameters."""
    return {name: parameter(name, value) for name, value in without_none(filters).items()}


def parameter(name: str, value: object) -> str | int:
    """Times are written in UTC; a time without a zone is a ValueError."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} needs a time zone: a naive time could mean any of 24 hours")
        text = value.astimezone(UTC).isoformat(timespec="microseconds")
        return text.replace("+00:00", "Z")
    return value if isinstance(value, int) else str(value)


def check_key(key: str) -> None:
    """Refuse what FinPay refuses: httpx can't even send some of these in a header."""
    if not 1 <= len(key) <= _MAX_KEY_LENGTH or any(not "!" <= symbol <= "~" for symbol in key):
        raise FinPayError(
            Code.IDEMPOTENCY_KEY_INVALID,
            f"An idempotency key has 1 to {_MAX_KEY_LENGTH} visible ASCII characters, no spaces.",
        )


def without_none(members: Mapping[str, object]) -> dict[str, object]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
