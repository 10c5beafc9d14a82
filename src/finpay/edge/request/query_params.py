"""Query parameters and cursors of lists: strict in, opaque out."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from finpay import ids
from finpay.errors import Code, FinPayError, invalid_parameter
from finpay.money import MAX_AMOUNT
from finpay.outbox.event_types import matching

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 20
MAX_QUERY_BYTES: Final = 4_096  # every legal query is far shorter
MAX_PARAMETERS: Final = 32

# Hours and offsets are spelt out: some versions of Python take 24:00 and +10:99 for times.
_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_DIGITS: Final = re.compile(r"0|[1-9]\d{0,15}", re.ASCII)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_CHECK_BYTES: Final = 6
_PART: Final = (1 << 42) - 1
_MAX_POSITION: Final = 2**63 - 1  # a bigint; the check sum is no secret, so a larger one may come

Parser = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class CursorCodec:
    """The cursors of one list, whose positions are `length` numbers."""

    kind: str
    length: int

    def write(self, account: UUID, *position: int) -> str:
        """A position in one account's list, as text that means nothing to its holder."""
        body = ".".join(map(str, position)).encode()
        check = _check(self.kind, account, body)
        return base64.urlsafe_b64encode(check + body).decode().rstrip("=")

    def read(self, account: UUID, text: str) -> tuple[int, ...]:
        """The position that `write` was given for the same list; 400 for anything else."""
        try:
            raw = base64.b64decode(
                text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
            )
            position = tuple(int(part) for part in raw[_CHECK_BYTES:].decode("ascii").split("."))
        except (ValueError, binascii.Error):
            position = ()
        # Written again it has to be the same text: base64 alone reads several texts as one.
        if (
            len(position) != self.length
            or not all(0 <= part <= _MAX_POSITION for part in position)
            or self.write(account, *position) != text
        ):
            raise FinPayError(
                Code.CURSOR_INVALID, "Send next_cursor back as it was given, to the same list."
            )
        return position


ENTRIES: Final = CursorCodec("entries", 1)
TRANSACTIONS: Final = CursorCodec("transactions", 2)
EVENTS: Final = CursorCodec("events", 2)  # which way the list goes, and the number reached
ENDPOINTS: Final = CursorCodec(
    "endpoints", 3
)  # an id in three parts, as `uuid_to_position` makes them
DELIVERIES: Final = CursorCodec("deliveries", 3)


def parse_query(
    query: bytes, parsers: Mapping[str, Parser | CursorCodec], account: UUID | None = None
) -> tuple[dict[str, str], dict[str, Any]]:
    """The parameters by name, as sent and as checked: a cursor is the position it stands for.

    400 for a bad cursor, then 422 for an unknown, repeated or bad parameter. A list with cursors
    needs the caller's `account`.
    """
    if not query:
        return {}, {}
    if len(query) > MAX_QUERY_BYTES:
        raise invalid_parameter("query", f"The query is longer than {MAX_QUERY_BYTES} bytes.")
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise invalid_parameter("query", "The query string can't be read.") from None
    pairs.sort(key=lambda pair: not isinstance(parsers.get(pair[0]), CursorCodec))
    texts: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name, text in pairs:
        parser = parsers.get(name)
        if parser is None:
            raise invalid_parameter(_shown(name), "This list knows no such parameter.")
        if name in values:
            raise invalid_parameter(name, "Give this parameter once.")
        try:
            if isinstance(parser, CursorCodec):
                assert account is not None  # noqa: S101  every list is somebody's
                values[name] = parser.read(account, text)
            else:
                values[name] = parser(text)
        except ValueError as error:
            raise invalid_parameter(name, f"{error}") from None
        texts[name] = text
    return texts, values


def uuid_to_position(value: UUID) -> tuple[int, int, int]:
    """An id as a position: parts that order as it does, each small enough for a cursor."""
    return value.int >> 84, value.int >> 42 & _PART, value.int & _PART


def position_to_uuid(place: tuple[int, int, int]) -> UUID:
    """The id at a position; a position that no id has is beyond all of them or before."""
    high, middle, low = place
    return UUID(int=(high << 84 | (middle & _PART) << 42 | low & _PART) & (1 << 128) - 1)


def limit(text: str) -> int:
    if _DIGITS.fullmatch(text) is None or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f"Expected an integer from 1 to {MAX_LIMIT}.")
    return int(text)


def amount(text: str) -> int:
    if _DIGITS.fullmatch(text) is None or int(text) > MAX_AMOUNT:
        raise ValueError(f"Expected minor units: an integer from 0 to {MAX_AMOUNT}.")
    return int(text)


def time(text: str) -> datetime:
    """RFC 3339 with an offset; a naive time could mean anything."""
    try:
        if _RFC3339.fullmatch(text) is None:
            raise ValueError
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("Expected a time such as 2026-01-31T12:00:00Z.") from None


def one_of(*choices: str) -> Parser:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"Expected one of: {', '.join(choices)}.")
        return text

    return parse


def event_types(text: str) -> tuple[str, ...] | None:
    """The types of a pattern such as `transaction.*`; None for all."""
    return matching(text) if text != "*" else None


def sequence(text: str) -> int:
    if _DIGITS.fullmatch(text) is None or int(text) > MAX_AMOUNT:
        raise ValueError(f"Expected the sequence of an event, or 0: at most {MAX_AMOUNT}.")
    return int(text)


def account_id(text: str) -> UUID:
    return ids.decode("acc", text)


def idempotency_key(text: str) -> str:
    if _KEY.fullmatch(text) is None:
        raise ValueError("Expected 1 to 255 visible ASCII characters.")
    return text


def canonical(values: Mapping[str, str]) -> str:
    """Parameters in one order: equal queries are one cached variant."""
    return urlencode(sorted(values.items()))


def link(path: str, query: Mapping[str, str], cursor: str | None) -> dict[str, str]:
    """The Link header of a page that has a next one: relative, with the filters sent again."""
    if cursor is None:
        return {}
    return {"Link": f'<{path}?{urlencode({**query, "cursor": cursor})}>; rel="next"'}


def _check(kind: str, account: UUID, body: bytes) -> bytes:
    return hashlib.blake2b(
        body, digest_size=_CHECK_BYTES, key=account.bytes, person=kind.encode()
    ).digest()


def _shown(name: str) -> str:
    return name[:64].encode("utf-8", "replace").decode()
