"""What goes out and what comes back, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from json import dumps, loads
from typing import Any

import httpx


def encode(value: object) -> bytes:
    """Compact JSON in ASCII: integers of any size stay exact, odd text arrives as it is."""
    return dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to send. It holds the access token, so it prints no headers."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer as it came: `headers` ignore case, `body` is the exact bytes."""

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as Python values. ValueError if it is not JSON."""
        return loads(self.body)

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, in lower case; empty if there is none."""
        return self._header("content-type").partition(";")[0].strip().lower()

    @property
    def request_id(self) -> str | None:
        return self._header("x-request-id") or None

    @property
    def retry_after_s(self) -> int | None:
        """Retry-After in seconds. A date, which FinPay never sends, counts as absent."""
        text = self._header("retry-after")
        return int(text) if text.isascii() and text.isdigit() else None

    def _header(self, name: str) -> str:
        return str(self.headers.get(name, ""))
