"""HTTP requests and responses as plain values, without a connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json import dumps, loads
from typing import Any
from urllib.parse import urlencode

import httpx

Params = Mapping[str, str | int] | Sequence[tuple[str, str | int]]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request ready to send. Headers and body may hold secrets, so repr() leaves them out."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response as it was received: `headers` ignore case, `body` is the exact bytes."""

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
        """X-Request-ID, `req_…`."""
        return self._header("x-request-id") or None

    @property
    def retry_after_s(self) -> int | None:
        """Retry-After in seconds. A date, which FinPay never sends, counts as absent."""
        text = self._header("retry-after")
        return int(text) if text.isascii() and text.isdigit() else None

    def _header(self, name: str) -> str:
        return str(self.headers.get(name, ""))


def encode(value: object) -> bytes:
    """Compact JSON in ASCII: integers of any size stay exact, lone surrogates are escaped."""
    return dumps(value, separators=(",", ":")).encode()


def make_request(
    url: str,
    method: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str | None] | None = None,
    params: Params | None = None,
    access_token: str | None = None,
) -> HttpRequest:
    """The request with Authorization and Content-Type added; `headers` override them.

    A header whose value is None is left out.
    """
    added = {
        "authorization": None if access_token is None else f"Bearer {access_token}",
        "content-type": None if content is None else "application/json",
    }
    merged = added | {name.lower(): value for name, value in (headers or {}).items()}
    return HttpRequest(
        method,
        f"{url}?{urlencode(params)}" if params else url,
        {name: value for name, value in merged.items() if value is not None},
        content,
    )
