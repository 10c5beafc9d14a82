"""One request as the pipeline sees it, and the answer it gets."""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct

from finpay import ids
from finpay.gate.gate import Settlement
from finpay.gate.limits import Budget
from finpay.identity.tokens import Principal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON: Final = b"application/json"

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
# W3C trace-context: version 00, a trace id and a parent id that are not all zeros, flags.
_TRACEPARENT: Final = re.compile(
    r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)


class Request:
    """Head of a request: what was asked, by whom, from where."""

    __slots__ = ("address", "headers", "id", "method", "path", "query", "receive", "trace_id")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers = _joined(scope["headers"])
        self.receive = receive
        self.address = "unknown"
        self.id = self._request_id()
        trace = _TRACEPARENT.fullmatch(self.header("traceparent") or "")
        self.trace_id = None if trace is None else trace[1]

    def header(self, name: str) -> str | None:
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def bearer(self) -> str:
        """The token of `Authorization: Bearer …`; empty without one."""
        scheme, _, token = (self.header("authorization") or "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def _request_id(self) -> str:
        given = self.header("x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return ids.encode("req", ids.new_uuid())


class Call(Struct, frozen=True):
    """What a handler gets: everything is read, checked and admitted.

    `command` is the checked body, `parameters` the checked query, `path_id` the id in a
    path that has one. `key` and `fingerprint` belong to money POSTs.
    """

    request_id: str
    address: str
    path: str = ""
    principal: Principal | None = None
    command: Any = None
    parameters: Mapping[str, Any] = {}
    query: Mapping[str, str] = {}
    path_id: str = ""
    key: str = ""
    fingerprint: bytes = b""
    bearer: str = ""

    @property
    def caller(self) -> Principal:
        """The principal of a route that needs a token."""
        assert self.principal is not None  # noqa: S101  the pipeline let nobody else through
        return self.principal


@dataclass(slots=True)
class Reply:
    """An answer. `sequence` marks a read that may be cached, `settlement` a write."""

    status: int
    body: bytes = b""
    content_type: bytes | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    sequence: int | None = None
    settlement: Settlement | None = None


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header fields by lower-case name; a repeated field is one list (RFC 9110 §5.2)."""
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers
