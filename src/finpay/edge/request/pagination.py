"""Cursors of lists: positions as opaque text, and the Link header to the next page."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from finpay.errors import Code, FinPayError

DEFAULT_LIMIT: Final = 20

_CHECK_BYTES: Final = 6
_PART: Final = (1 << 42) - 1
# A client can compute the checksum of a cursor, so its numbers are checked to fit a bigint too.
_MAX_POSITION: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CursorCodec:
    """The cursors of one kind of list, whose positions are `length` numbers."""

    kind: str
    length: int

    def write(self, account: UUID, *position: int) -> str:
        """The cursor of a position in the list of one account."""
        body = ".".join(map(str, position)).encode()
        check = self._checksum(account, body)
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
        # Only the canonical text is accepted: base64 decodes several texts to the same bytes.
        if (
            len(position) != self.length
            or not all(0 <= part <= _MAX_POSITION for part in position)
            or self.write(account, *position) != text
        ):
            raise FinPayError(
                Code.CURSOR_INVALID, "Send next_cursor back unchanged, to the same list."
            )
        return position

    def _checksum(self, account: UUID, body: bytes) -> bytes:
        return hashlib.blake2b(
            body, digest_size=_CHECK_BYTES, key=account.bytes, person=self.kind.encode()
        ).digest()


ENTRIES: Final = CursorCodec("entries", 1)
TRANSACTIONS: Final = CursorCodec("transactions", 2)
EVENTS: Final = CursorCodec("events", 2)  # direction of the list, sequence reached
ENDPOINTS: Final = CursorCodec("endpoints", 3)  # an id in three parts, see uuid_to_position
DELIVERIES: Final = CursorCodec("deliveries", 3)
SESSIONS: Final = CursorCodec("sessions", 3)
API_KEYS: Final = CursorCodec("api_keys", 3)
PAYMENT_REQUESTS: Final = CursorCodec("requests", 4)  # microseconds since 1970, an id
SCHEDULES: Final = CursorCodec("schedules", 3)
HOLDS: Final = CursorCodec("holds", 3)
WITHDRAWALS: Final = CursorCodec("withdrawals", 3)
# Of all users, for operators.
ALL_USERS: Final = CursorCodec("all_users", 3)
ALL_WITHDRAWALS: Final = CursorCodec("all_withdrawals", 3)
ALL_TRANSACTIONS: Final = CursorCodec("all_transactions", 3)
APPROVALS: Final = CursorCodec("approvals", 3)
AUDIT: Final = CursorCodec("audit", 1)
STATUS_CHANGES: Final = CursorCodec("status_changes", 1)


def uuid_to_position(value: UUID) -> tuple[int, int, int]:
    """An id as a position: parts in the order of the id, each small enough for a cursor."""
    return value.int >> 84, value.int >> 42 & _PART, value.int & _PART


def position_to_uuid(position: tuple[int, int, int]) -> UUID:
    """The id at a position. Numbers that `uuid_to_position` never returns are truncated."""
    high, middle, low = position
    return UUID(int=(high << 84 | (middle & _PART) << 42 | low & _PART) & (1 << 128) - 1)


def link(path: str, query: Mapping[str, str], cursor: str | None) -> dict[str, str]:
    """The Link header to the next page: relative, with the filters of this request."""
    if cursor is None:
        return {}
    return {"Link": f'<{path}?{urlencode({**query, "cursor": cursor})}>; rel="next"'}
