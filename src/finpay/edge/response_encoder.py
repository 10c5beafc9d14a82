"""The last step: a reply with all its headers, as bytes."""

import time
from email.utils import formatdate
from functools import cache
from http import HTTPStatus
from typing import Final

from finpay.edge.request.model import Request, Response
from finpay.edge.services import Services
from finpay.gate.rate_limits import format_headers

_API_CSP: Final = b"default-src 'none'; frame-ancestors 'none'"
_PAGE_CSP: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
_SECURITY: Final = (
    b"strict-transport-security: max-age=63072000; includeSubDomains\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"referrer-policy: no-referrer\r\n"
    b"content-security-policy: "
)
_EXPOSED: Final = (
    "X-Request-Id, Idempotent-Replayed, RateLimit, RateLimit-Policy, Retry-After, Link"
)
_ACCEPTED: Final = (
    "Authorization, Content-Type, X-Idempotency-Key, Idempotency-Key, X-Request-Id, traceparent"
)
_PREFLIGHT_AGE_S: Final = "600"


class ResponseEncoder:
    """Turns replies into bytes. Closes connections while the process drains, so that none is cut
    in use."""

    def __init__(self, services: Services) -> None:
        self._probe = services.probe
        self._origins = frozenset(services.settings.cors_origins)
        self._date = (0, b"")

    @property
    def parting(self) -> bool:
        """Whether each connection ends with its next answer."""
        return self._probe.draining

    def encode(self, reply: Response, request: Request) -> bytes:
        """The whole answer as it goes over the line."""
        body = reply.body
        head = _opening(reply.status, reply.content_type, request.path.startswith("/docs"))
        fields = [head, self._dated(), b"\r\nx-request-id: ", request.id.encode()]
        if reply.status != 204:
            fields.append(b"\r\ncontent-length: %d" % len(body))
        if reply.budgets:
            policy, left = format_headers(reply.budgets)
            fields.append(f"\r\nratelimit-policy: {policy}\r\nratelimit: {left}".encode())
        if "Cache-Control" not in reply.headers:
            fields.append(b"\r\ncache-control: no-store")
        for name, value in reply.headers.items():
            fields.append(_field(name.lower(), value))
        if self._origins:
            fields.extend(_field(*pair) for pair in self._cors(request, reply))
        if self.parting or "Connection" in reply.headers:
            request.keep_alive = False
        if not request.keep_alive and "Connection" not in reply.headers:
            fields.append(b"\r\nconnection: close")
        fields.append(b"\r\n\r\n")
        if request.method != "HEAD":
            fields.append(body)
        return b"".join(fields)

    def _dated(self) -> bytes:
        now_s = int(time.time())
        if now_s != self._date[0]:
            self._date = (now_s, formatdate(now_s, usegmt=True).encode())
        return self._date[1]

    def _cors(self, request: Request, reply: Response) -> list[tuple[str, str]]:
        origin = request.header(b"origin")
        headers = [("vary", "RequestOrigin")]
        if origin not in self._origins:
            return headers
        headers.append(("access-control-allow-origin", origin))
        headers.append(("access-control-expose-headers", _EXPOSED))
        if request.method == "OPTIONS" and "Allow" in reply.headers:  # not for a 404
            headers.append(("access-control-allow-methods", reply.headers["Allow"]))
            headers.append(("access-control-allow-headers", _ACCEPTED))
            headers.append(("access-control-max-age", _PREFLIGHT_AGE_S))
        return headers


@cache
def _opening(status: int, content_type: bytes | None, page: bool) -> bytes:  # noqa: FBT001
    """Status line and the fields that never change; there are few different ones."""
    kind = b"" if content_type is None else b"\r\ncontent-type: " + content_type
    return b"HTTP/1.1 %d %b\r\n%b%b%b\r\ndate: " % (
        status,
        HTTPStatus(status).phrase.encode(),
        _SECURITY,
        _PAGE_CSP if page else _API_CSP,
        kind,
    )


def _field(name: str, value: str) -> bytes:
    field = f"\r\n{name}: {value}".encode("latin-1")
    if field.count(b"\n") > 1 or field.count(b"\r") > 1:
        raise ValueError(f"a line break in the header {name}")
    return field
