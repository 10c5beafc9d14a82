"""The last step: a reply with all its headers, onto the wire."""

from typing import Final

from finpay.edge.request import Reply, Request, Send
from finpay.edge.services import Services
from finpay.gate.limits import headers_of

_API_CSP: Final = b"default-src 'none'; frame-ancestors 'none'"
_PAGE_CSP: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
_SECURITY: Final = [
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_EXPOSED: Final = (
    b"X-Request-Id, Idempotent-Replayed, RateLimit, RateLimit-Policy, Retry-After, Link"
)
_ACCEPTED: Final = (
    b"Authorization, Content-Type, X-Idempotency-Key, Idempotency-Key, X-Request-Id, traceparent"
)
_PREFLIGHT_AGE_S: Final = b"600"


class Answering:
    """Sends replies. Closes connections while the process drains, so that none is cut in use."""

    def __init__(self, services: Services) -> None:
        self._probe = services.probe
        self._origins = frozenset(services.settings.cors_origins)

    async def send(self, reply: Reply, request: Request, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": self._headers(reply, request),
            }
        )
        await send({"type": "http.response.body", "body": reply.body})

    def _headers(self, reply: Reply, request: Request) -> list[tuple[bytes, bytes]]:
        page = request.path.startswith("/docs")
        headers = [
            *_SECURITY,
            (b"content-security-policy", _PAGE_CSP if page else _API_CSP),
            (b"x-request-id", request.id.encode()),
        ]
        if reply.content_type is not None:
            headers.append((b"content-type", reply.content_type))
        if reply.status != 204:
            headers.append((b"content-length", str(len(reply.body)).encode()))
        if "Cache-Control" not in reply.headers:
            headers.append((b"cache-control", b"no-store"))
        if reply.budgets:
            policy, left = headers_of(reply.budgets)
            headers.append((b"ratelimit-policy", policy.encode()))
            headers.append((b"ratelimit", left.encode()))
        headers.extend(
            (name.lower().encode(), value.encode()) for name, value in reply.headers.items()
        )
        if self._origins:
            headers.extend(self._cors(request, reply))
        if self._probe.draining:
            headers.append((b"connection", b"close"))
        return headers

    def _cors(self, request: Request, reply: Reply) -> list[tuple[bytes, bytes]]:
        origin = request.header("origin")
        headers = [(b"vary", b"Origin")]
        if origin not in self._origins:
            return headers
        headers.append((b"access-control-allow-origin", origin.encode()))
        headers.append((b"access-control-expose-headers", _EXPOSED))
        if request.method == "OPTIONS" and "Allow" in reply.headers:  # not for a 404
            headers.append((b"access-control-allow-methods", reply.headers["Allow"].encode()))
            headers.append((b"access-control-allow-headers", _ACCEPTED))
            headers.append((b"access-control-max-age", _PREFLIGHT_AGE_S))
        return headers
