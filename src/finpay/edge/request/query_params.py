"""Query parameters: each has a parser and the JSON Schema that OpenAPI shows."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from finpay import ids
from finpay.edge.request import pagination, query_string
from finpay.edge.request.pagination import CursorCodec
from finpay.errors import invalid_parameter
from finpay.ids import Prefix
from finpay.money import MAX_AMOUNT
from finpay.outbox import event_types
from finpay.statements import periods

MAX_LIMIT: Final = 100

# Hours and offsets are spelt out: some versions of Python take 24:00 and +10:99 for times.
# .NET, Go and Java write 7 to 9 decimals: those beyond microseconds are dropped.
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?)\d{0,3}"
    r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_FIRST: Final = datetime.min.replace(microsecond=1, tzinfo=UTC)
_LAST: Final = datetime.max.replace(microsecond=999_998, tzinfo=UTC)
_DIGITS: Final = re.compile(r"0|[1-9]\d{0,15}", re.ASCII)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_ORIGINS: Final[dict[Prefix, str]] = {
    "hld": "hold",
    "prq": "payment_request",
    "sch": "schedule",
    "wdr": "withdrawal",
    "txn": "transaction",
}


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """`parse` raises ValueError with the sentence of the error."""

    parse: Callable[[str], Any]
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Cursor:
    """The parameter `cursor` of one kind of list. Its value is a position."""

    codec: CursorCodec
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A parameter `name[key]=value`, one pair of an object of texts. Its value is (key, value)."""

    schema: Mapping[str, Any]
    required: bool = False


Parameters = Mapping[str, Parameter | Cursor | Pair]


def parse(
    query: bytes, parameters: Parameters, account: UUID | None = None
) -> tuple[dict[str, str], dict[str, Any]]:
    """The parameters by name, as sent and as parsed.

    400 for a bad cursor, then 422 for an unknown, repeated, bad or missing parameter. A list with
    cursors needs the caller's `account`.
    """
    pairs = query_string.pairs(query) if query else []
    pairs.sort(key=lambda pair: not isinstance(parameters.get(pair[0]), Cursor))
    texts: dict[str, str] = {}
    values: dict[str, Any] = {}
    for sent_name, text in pairs:
        name, key = query_string.name_and_key(sent_name)
        parameter = parameters.get(name)
        if parameter is None or isinstance(parameter, Pair) != (key is not None):
            raise invalid_parameter(query_string.quoted(sent_name), "Unknown query parameter.")
        if name in values:
            raise invalid_parameter(name, "Send this parameter once.")
        values[name] = _pair(name, key, text) if key else _value(name, text, parameter, account)
        texts[sent_name] = text
    for name, parameter in parameters.items():
        if parameter.required and name not in values:
            raise invalid_parameter(name, "This parameter is required.")
    return texts, values


def canonical(values: Mapping[str, str]) -> str:
    """Parameters in one order: equal queries share one cache entry."""
    return urlencode(sorted(values.items())) if values else ""


def parse_time(text: str) -> datetime:
    """RFC 3339 with an offset, truncated to microseconds. ValueError for anything else.

    PostgreSQL's driver takes the first and the last moment of datetime for infinite, so .NET's
    DateTime.MaxValue is a microsecond earlier.
    """
    match = _RFC3339.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        moment = datetime.fromisoformat(match[1] + match[4]).astimezone(UTC)
        return min(max(moment, _FIRST), _LAST)
    except (ValueError, OverflowError):
        raise ValueError("Expected a time such as 2026-01-31T12:00:00Z.") from None


def one_of(*choices: str) -> Parameter:
    """One of several words."""

    def parse_choice(text: str) -> str:
        if text not in choices:
            raise ValueError(f"Expected one of: {', '.join(choices)}.")
        return text

    return Parameter(parse_choice, {"type": "string", "enum": list(choices)})


def _pair(name: str, key: str, text: str) -> tuple[str, str]:
    """422 for a NUL, which PostgreSQL can't take; no metadata has one."""
    if "\0" in key or "\0" in text:
        raise invalid_parameter(name, "Metadata can't contain a NUL.")
    return key, text


def _value(name: str, text: str, parameter: Parameter | Cursor | Pair, account: UUID | None) -> Any:
    assert not isinstance(parameter, Pair)  # noqa: S101  its value is known already
    if isinstance(parameter, Cursor):
        assert account is not None  # noqa: S101  every list belongs to an account
        return parameter.codec.read(account, text)
    try:
        return parameter.parse(text)
    except ValueError as error:
        raise invalid_parameter(name, f"{error}") from None


def _limit(text: str) -> int:
    if _DIGITS.fullmatch(text) is None or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f"Expected an integer from 1 to {MAX_LIMIT}.")
    return int(text)


def _amount(text: str) -> int:
    if _DIGITS.fullmatch(text) is None or int(text) > MAX_AMOUNT:
        raise ValueError(f"Expected minor units: an integer from 0 to {MAX_AMOUNT}.")
    return int(text)


def _sequence(text: str) -> int:
    if _DIGITS.fullmatch(text) is None or int(text) > MAX_AMOUNT:
        raise ValueError(f"Expected the sequence of an event, or 0: at most {MAX_AMOUNT}.")
    return int(text)


def _version(text: str) -> int:
    if _DIGITS.fullmatch(text) is None or int(text) > MAX_AMOUNT:
        raise ValueError(f"Expected a version: an integer from 0 to {MAX_AMOUNT}.")
    return int(text)


def _account_id(text: str) -> UUID:
    return ids.decode("acc", text)


def _origin(text: str) -> tuple[str, UUID]:
    """The type and the id of what a transaction came of."""
    for prefix, kind in _ORIGINS.items():
        if text.startswith(f"{prefix}_"):
            return kind, ids.decode(prefix, text)
    raise ValueError("Expected an id that begins with hld_, prq_, sch_, wdr_ or txn_.")


def _dry_run(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("Expected true or false.")
    return text == "true"


def _idempotency_key(text: str) -> str:
    if _KEY.fullmatch(text) is None:
        raise ValueError("Expected 1 to 255 visible ASCII characters.")
    return text


def _event_types(text: str) -> tuple[str, ...] | None:
    """The types of a pattern such as `transaction.*`; None for all."""
    return event_types.matching(text) if text != "*" else None


def _cursor(codec: CursorCodec) -> Cursor:
    return Cursor(codec, {"type": "string", "description": "next_cursor of the page before."})


_MINOR_UNITS: Final = {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_AMOUNT}

LIMIT: Final = Parameter(
    _limit,
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": pagination.DEFAULT_LIMIT},
)
CREATED_FROM: Final = Parameter(
    parse_time, {"type": "string", "format": "date-time", "description": "Inclusive."}
)
CREATED_TO: Final = Parameter(
    parse_time, {"type": "string", "format": "date-time", "description": "Exclusive."}
)
AMOUNT_MIN: Final = Parameter(_amount, {**_MINOR_UNITS, "description": "Inclusive."})
AMOUNT_MAX: Final = Parameter(_amount, {**_MINOR_UNITS, "description": "Inclusive."})
ACCOUNT_ID: Final = Parameter(
    _account_id, {"type": "string", "pattern": "^acc_[0-7][0-9a-hjkmnp-tv-z]{25}$"}
)
IDEMPOTENCY_KEY: Final = Parameter(
    _idempotency_key, {"type": "string", "pattern": "^[!-~]{1,255}$"}
)
REQUIRED_KEY: Final = Parameter(_idempotency_key, IDEMPOTENCY_KEY.schema, required=True)
ORIGIN: Final = Parameter(
    _origin, {"type": "string", "pattern": "^(hld|prq|sch|wdr|txn)_[0-7][0-9a-hjkmnp-tv-z]{25}$"}
)
METADATA: Final = Pair(
    {
        "type": "object",
        # The generated Java client does not compile without a property, nor with
        # additionalProperties: `order` is an example.
        "properties": {"order": {"type": "string"}},
        "patternProperties": {"": {"type": "string"}},
        "maxProperties": 1,
        "description": "One pair, compared exactly: metadata[order]=7.",
    }
)
DRY_RUN: Final = Parameter(
    _dry_run,
    {
        "type": "boolean",
        "default": False,
        "description": "Only answer with the outcome; nothing is done.",
    },
)
EVENT_TYPE: Final = Parameter(
    _event_types,
    {
        "type": "string",
        "enum": event_types.patterns(),
        "description": "A type, a group of types, or all.",
    },
)
VERSION: Final = Parameter(_version, _MINOR_UNITS)
AT: Final = Parameter(
    parse_time, {"type": "string", "format": "date-time", "description": "Not in the future."}
)
FROM_DATE: Final = Parameter(
    periods.parse_date, {"type": "string", "format": "date", "description": "First day."}, True
)
TO_DATE: Final = Parameter(
    periods.parse_date,
    {"type": "string", "format": "date", "description": "Last day, included. Not in the future."},
    True,
)
TIMEZONE: Final = Parameter(
    periods.parse_zone,
    {"type": "string", "default": "UTC", "description": "An IANA time zone, in which days begin."},
)
AFTER_SEQUENCE: Final = Parameter(
    _sequence,
    {**_MINOR_UNITS, "description": "Oldest first, only events after this sequence."},
)
ENTRIES_CURSOR: Final = _cursor(pagination.ENTRIES)
TRANSACTIONS_CURSOR: Final = _cursor(pagination.TRANSACTIONS)
EVENTS_CURSOR: Final = _cursor(pagination.EVENTS)
ENDPOINTS_CURSOR: Final = _cursor(pagination.ENDPOINTS)
DELIVERIES_CURSOR: Final = _cursor(pagination.DELIVERIES)
SESSIONS_CURSOR: Final = _cursor(pagination.SESSIONS)
API_KEYS_CURSOR: Final = _cursor(pagination.API_KEYS)
PAYMENT_REQUESTS_CURSOR: Final = _cursor(pagination.PAYMENT_REQUESTS)
SCHEDULES_CURSOR: Final = _cursor(pagination.SCHEDULES)
HOLDS_CURSOR: Final = _cursor(pagination.HOLDS)
WITHDRAWALS_CURSOR: Final = _cursor(pagination.WITHDRAWALS)
LOGGED_REQUESTS_CURSOR: Final = _cursor(pagination.LOGGED_REQUESTS)
