"""One request as the pipeline and the handlers see it."""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Struct

from finpay import ids
from finpay.errors import FinPayError
from finpay.gate.rate_limits import LimitState
from finpay.identity.access_tokens import Principal
from finpay.identity.models import RequestOrigin
from finpay.ids import Prefix

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_USER_AGENT: Final = 200

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
# W3C trace-context: version 00, a trace id and a parent id that are not all zeros, flags.
_TRACEPARENT: Final = re.compile(
    r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)


_FORWARDED: Final = (b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip")
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Request:
    """Head of a request, from the scope of ASGI; the body is read when it is asked for.

    `path` is as sent: what a proxy compares before it decodes a path is what is compared here.
    `headers` are by lower-case name; a repeated field is one list (RFC 9110 §5.2). `id` is the
    client's X-Request-Id or a new one, `client_ip` is set by the pipeline.
    """

    __slots__ = ("body_was_read", "client_ip", "headers", "id", "method", "path", "peer", "query",
                 "receive", "trace_id")  # fmt: skip

    def __init__(self, scope: Message, receive: Receive) -> None:
        self.method: str = scope["method"]
        raw_path: bytes | None = scope.get("raw_path")  # optional in ASGI
        self.path: str = scope["path"] if raw_path is None else raw_path.decode("latin-1")
        self.query: bytes = scope["query_string"]
        client = scope.get("client")
        self.peer: str = client[0] if client else "unknown"
        self.receive = receive
        self.body_was_read = False
        self.client_ip = "unknown"
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers[name] = headers[name] + b", " + value if name in headers else value
        self.headers = headers
        given = headers.get(b"x-request-id")
        self.id = ids.new_request_id() if given is None else _request_id(given)
        trace = headers.get(b"traceparent")
        self.trace_id = None if trace is None else _trace_id(trace)

    def header(self, name: bytes) -> str | None:
        """The value of a field, by its lower-case name."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def bearer(self) -> str:
        """The token of `Authorization: Bearer …`; empty without one."""
        scheme, _, token = (self.header(b"authorization") or "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def is_local(self) -> bool:
        """From a program on this machine that names it so, and through no proxy."""
        host = _hostname(self.header(b"host") or "")
        direct = not any(name in self.headers for name in _FORWARDED)
        return direct and host in _LOCAL_HOSTS and _is_loopback(self.peer)

    @property
    def user_agent(self) -> str | None:
        """The printable part of User-Agent, cut: its owner reads it in the list of sessions."""
        text = (self.header(b"user-agent") or "")[:MAX_USER_AGENT]
        return "".join(filter(str.isprintable, text)) or None

    @property
    def content_length(self) -> int | None:
        """Bytes of the body; None for a chunked body, whose length is unknown before its end."""
        if b"transfer-encoding" in self.headers:
            return None
        return int(self.headers.get(b"content-length", b"0"))

    def leaves_unread(self, max_bytes: int) -> bool:
        """Whether the body was not read and may be longer than `max_bytes`."""
        if self.body_was_read:
            return False
        length = self.content_length
        return length is None or length > max_bytes


class Context(Struct, frozen=True):
    """Input of a handler: everything is read, checked and admitted.

    `command` is the checked body, `parameters` the checked query, `path_id` the id in a path that
    has one. `user_agent` is known without a token alone, as logins keep it; `is_local` of pages.
    `key` and `fingerprint` belong to money POSTs. `limits` are the states of the rate limits after
    this request.
    """

    request_id: str
    client_ip: str
    user_agent: str | None = None
    path: str = ""
    principal: Principal | None = None
    command: Any = None
    parameters: Mapping[str, Any] = {}
    query: Mapping[str, str] = {}
    path_id: str = ""
    key: str = ""
    fingerprint: bytes = b""
    bearer: str = ""
    accept: str = ""
    is_local: bool = False
    limits: tuple[LimitState, ...] = ()

    def path_uuid(self, prefix: Prefix, absent: FinPayError) -> UUID:
        """The id in the path. Raises `absent` if it is not an id of this kind."""
        try:
            return ids.decode(prefix, self.path_id)
        except ids.MalformedId:
            raise absent from None

    @property
    def origin(self) -> RequestOrigin:
        """What the audit log keeps of the request."""
        return RequestOrigin(self.request_id, self.client_ip, self.user_agent)

    @property
    def caller(self) -> Principal:
        """The principal of a route that needs a token."""
        assert self.principal is not None  # noqa: S101  the pipeline authenticated the request
        return self.principal


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # a bracket that is not closed
        return None


def _is_loopback(peer: str) -> bool:
    try:
        return ip_address(peer).is_loopback
    except ValueError:  # of a socket without an address
        return False


def _request_id(given: bytes) -> str:
    text = given.decode("latin-1")
    return text if REQUEST_ID.fullmatch(text) else ids.new_request_id()


def _trace_id(given: bytes) -> str | None:
    trace = _TRACEPARENT.fullmatch(given.decode("latin-1"))
    return None if trace is None else trace[1]
