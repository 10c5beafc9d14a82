"""One request as the pipeline sees it, and the answer it gets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from msgspec import Struct

from finpay import ids
from finpay.errors import FinPayError
from finpay.gate.gate import Completion
from finpay.gate.rate_limits import LimitState
from finpay.identity.access_tokens import Principal
from finpay.ids import Prefix

Headers = dict[bytes, bytes]  # by lower-case name; a repeated field is one list

JSON: Final = b"application/json"

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
# W3C trace-context: version 00, a trace id and a parent id that are not all zeros, flags.
_TRACEPARENT: Final = re.compile(
    r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)


class Request:
    """One whole request: what was asked, by whom, from where.

    `oversized`: its body is longer than its route reads; `late`: it took too long to arrive.
    `body` is empty then. `keep_alive` False: the answer is the last on this connection.
    """

    __slots__ = (
        "address",
        "body",
        "headers",
        "id",
        "keep_alive",
        "late",
        "method",
        "oversized",
        "path",
        "peer",
        "query",
        "trace_id",
    )

    def __init__(self, method: str, path: str, query: bytes, headers: Headers, peer: str) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.peer = peer
        self.address = "unknown"
        self.body = b""
        self.oversized = self.late = False
        self.keep_alive = True
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


class RequestHandler(Protocol):
    """What stands behind a connection: the application."""

    async def respond(self, request: Request) -> bytes:
        """The whole answer, head and body, as it goes over the line. It never raises."""
        ...

    def refuse(self, request: Request) -> bytes | None:
        """The answer at once to a request too many. None: it is let in, and `respond` has to be
        called for it."""
        ...

    def refuse_unread(self, data: bytes) -> bytes | None:
        """The answer at once to what came on a connection where nothing was under way. None: it
        has to be read."""
        ...


class Context(Struct, frozen=True):
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

    def uuid_in_path(self, prefix: Prefix, absent: FinPayError) -> UUID:
        """The id in the path. Raises `absent` for what is no id of this kind."""
        try:
            return ids.decode(prefix, self.path_id)
        except ids.MalformedId:
            raise absent from None

    @property
    def caller(self) -> Principal:
        """The principal of a route that needs a token."""
        assert self.principal is not None  # noqa: S101  the pipeline let nobody else through
        return self.principal


@dataclass(slots=True)
class Response:
    """An answer. `sequence` marks a read that may be cached, `settlement` a write."""

    status: int
    body: bytes = b""
    content_type: bytes | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    budgets: tuple[LimitState, ...] = ()
    sequence: int | None = None
    settlement: Completion | None = None


def _request_id(given: bytes) -> str:
    text = given.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else ids.new_request_id()


def _trace_id(given: bytes) -> str | None:
    trace = _TRACEPARENT.fullmatch(given.decode("latin-1"))
    return None if trace is None else trace[1]
