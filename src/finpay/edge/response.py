"""One response, and the headers that it is sent with."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Final

from finpay.edge.request.model import Request
from finpay.gate.gate import Completion
from finpay.gate.rate_limits import LimitState, format_headers

JSON: Final = b"application/json"

Headers = list[tuple[bytes, bytes]]

_API_CSP: Final = b"default-src 'none'; frame-ancestors 'none'"
_PAGE_CSP: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
_PAGES: Final = ("/docs", "/dev/")
_EXPOSED: Final = (
    b"X-Request-Id, Idempotent-Replayed, RateLimit, RateLimit-Policy, Retry-After, Link"
)
_ALLOWED: Final = (
    b"Authorization, Content-Type, X-Idempotency-Key, Idempotency-Key, X-Request-Id, "
    b"traceparent, tracestate, baggage, sentry-trace"
)
_PREFLIGHT_AGE_S: Final = b"600"


@dataclass(slots=True)
class Response:
    """What a handler returns. `headers` are those beyond the ones that every response has.

    `limits` are the states of the rate limits after this request. `sequence` marks a read that
    may be cached; `completion` is what a money POST leaves in Redis. `code` and `transaction_id`
    are for the log. With `stream` the body is what it yields, of a length that is not known.
    """

    status: int
    body: bytes = b""
    content_type: bytes | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    limits: tuple[LimitState, ...] = ()
    sequence: int | None = None
    completion: Completion | None = None
    code: str | None = None
    transaction_id: str | None = None
    stream: AsyncGenerator[bytes, None] | None = None


class HeaderWriter:
    """Makes the fields of a response but Date, which the server adds. ValueError for a line break
    in a value. `origins` are those that CORS allows."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def fields(self, response: Response, request: Request) -> Headers:
        """As ASGI has them."""
        constant = constant_headers(response.content_type, page=request.path.startswith(_PAGES))
        return [*constant, *self._own(response, request)]

    def head(self, response: Response, request: Request) -> bytes:
        """As HTTP/1.1 has them, behind the status line."""
        page = request.path.startswith(_PAGES)
        first = _first_lines(response.status, response.content_type, page=page)
        own = self._own(response, request)
        return first + b"".join([b"%b: %b\r\n" % each for each in own])

    def _own(self, response: Response, request: Request) -> Headers:
        headers = [(b"x-request-id", request.id.encode())]
        if response.status != 204 and response.stream is None:
            headers.append((b"content-length", b"%d" % len(response.body)))
        if response.limits:
            policy, left = format_headers(response.limits)
            headers.append((b"ratelimit-policy", policy.encode()))
            headers.append((b"ratelimit", left.encode()))
        if "Cache-Control" not in response.headers:
            headers.append((b"cache-control", b"no-store"))
        for name, value in response.headers.items():
            headers.append((name.lower().encode(), _line(value)))
        if self._origins:
            headers += self._cors(response, request)
        return headers

    def _cors(self, response: Response, request: Request) -> Headers:
        headers = [(b"vary", b"Origin")]
        origin = request.headers.get(b"origin")
        if origin not in self._origins:
            return headers
        headers.append((b"access-control-allow-origin", origin))
        headers.append((b"access-control-expose-headers", _EXPOSED))
        if request.method == "OPTIONS" and "Allow" in response.headers:  # not for a 404
            allowed = response.headers["Allow"].encode()
            headers.append((b"access-control-allow-methods", allowed))
            headers.append((b"access-control-allow-headers", _ALLOWED))
            headers.append((b"access-control-max-age", _PREFLIGHT_AGE_S))
        return headers


@cache
def constant_headers(content_type: bytes | None, *, page: bool) -> Headers:
    """The headers that every response of its kind has; there are few different lists."""
    headers = [
        (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", _PAGE_CSP if page else _API_CSP),
    ]
    if content_type is not None:
        headers.append((b"content-type", content_type))
    return headers


@cache
def _first_lines(status: int, content_type: bytes | None, *, page: bool) -> bytes:
    """The status line, and the headers that every such response has."""
    status_line = b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    headers = constant_headers(content_type, page=page)
    return status_line + b"".join(b"%b: %b\r\n" % each for each in headers)


def _line(value: str) -> bytes:
    if "\n" in value or "\r" in value:
        raise ValueError("a line break in the value of a header")
    return value.encode("latin-1")
