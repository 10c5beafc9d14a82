"""503 for requests above MAX_IN_FLIGHT, at half the processor time of a response by ASGI.

When twice as much comes as can be done, every second request is refused, and what a refusal costs
is taken from what can be done. Application puts a LoadShedder into the lifespan's state, where
HttpProtocol finds it. What it lets through, and requests under other servers, Application refuses.
"""

import asyncio
from functools import cache
from typing import Any, Final, Protocol

import httptools

from finpay.edge.access_log import AccessLog, RequestRecord
from finpay.edge.health_monitor import HealthMonitor
from finpay.edge.http_parser import check_head
from finpay.edge.load_limits import MAX_IN_FLIGHT, OVERLOADED, InFlight
from finpay.edge.request.model import Message, Request
from finpay.edge.response import HeaderWriter, Response
from finpay.edge.router import API
from finpay.edge.schemas import problems
from finpay.edge.whole_response import Connection as ResponseConnection
from finpay.edge.whole_response import write
from finpay.errors import overloaded

STATE: Final = "finpay.load_shedder"  # its key in the lifespan's state
MAX_BYTES: Final = 8 * 1024  # of a request that is parsed here

_PREFIX: Final = f"{API}/"
_HEALTH: Final = f"{API}/health"  # never refused


class Connection(ResponseConnection, Protocol):
    """The part of HttpProtocol that `refuse` uses."""

    app_state: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    since_s: float
    timeout_keep_alive: int
    timeout_keep_alive_task: asyncio.TimerHandle | None

    @property
    def is_waiting(self) -> bool: ...

    @property
    def is_receiving(self) -> bool: ...

    def timeout_keep_alive_handler(self) -> None: ...


def refuse(connection: Connection, data: bytes) -> bool:
    """True if these bytes were one whole request that was answered with 503; the connection stays
    open. Application refuses the first request of a connection, and one that arrives in parts."""
    shedder: LoadShedder | None = connection.app_state.get(STATE)
    if shedder is None or connection.is_receiving or not connection.is_waiting:
        return False
    if shedder.has_capacity() or connection.flow.write_paused:
        return False
    refusal = shedder.refusal(data)
    if refusal is None:
        return False
    write(connection, *refusal)
    connection.since_s = connection.loop.time()
    if connection.timeout_keep_alive_task is not None:
        connection.timeout_keep_alive_task.cancel()
    connection.timeout_keep_alive_task = connection.loop.call_later(
        connection.timeout_keep_alive, connection.timeout_keep_alive_handler
    )
    return True


def is_sheddable(path: str) -> bool:
    return path.startswith(_PREFIX) and not path.startswith(_HEALTH)


class LoadShedder:
    """Of one process, within its event loop."""

    def __init__(
        self,
        in_flight: InFlight,
        headers: HeaderWriter,
        access_log: AccessLog,
        health: HealthMonitor,
    ) -> None:
        self._in_flight = in_flight
        self._headers = headers
        self._access_log = access_log
        self._health = health
        self._parser = _RequestParser()
        self._starting = 0  # let through in this tick: Application counts them in the next
        self._loop = asyncio.get_running_loop()
        self._template = cache(self._make_template)

    def has_capacity(self) -> bool:
        """For one more request, which counts from now on."""
        if self._in_flight.count + self._starting >= MAX_IN_FLIGHT:
            return False
        if not self._starting:
            self._loop.call_soon(self._forget_starting)
        self._starting += 1
        return True

    def refusal(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Head, as `SendWhole` has it, and body, if these bytes are one whole request that may be
        refused. None for all that the parser of the connection has to read."""
        if len(data) > MAX_BYTES or self._health.draining:
            return None
        request = self._parser.parse(data)
        if request is None or not is_sheddable(request.path) or b"origin" in request.headers:
            return None
        response, head, body = self._template(len(request.id))
        self._access_log.record(RequestRecord(), request, response, 0.0)
        request_id = request.id.encode()
        return request_id.join(head), request_id.join(body)

    def _forget_starting(self) -> None:
        self._starting = 0

    def _make_template(self, id_length: int) -> tuple[Response, list[bytes], list[bytes]]:
        """The response to a request whose id has that length; head and body around the id."""
        request = _request("GET", _PREFIX.encode(), [])
        request.id = "~" * id_length  # no id has that character, and nothing else here
        response = problems.response(overloaded(OVERLOADED), request.id)
        placeholder = request.id.encode()
        head = self._headers.head(response, request)
        return response, head.split(placeholder), response.body.split(placeholder)


class _RequestParser:
    """Parses bytes that are one whole request on a connection that stays open."""

    def __init__(self) -> None:
        self._renew()

    def parse(self, data: bytes) -> Request | None:
        """None for anything else, malformed requests among it."""
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []  # of the head, then trailers
        self._begun = self._complete = 0
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._complete = 0
        if self._begun != 1 or not self._complete:
            self._renew()  # it is in the middle of something
            return None
        method: str = self._parser.get_method().decode()
        return None if method == "HEAD" else _request(method, self._url, self._headers)

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        check_head(self._parser.get_http_version(), self._url, self._fields)
        self._headers, self._fields = self._fields, []

    def on_message_complete(self) -> None:
        parser = self._parser
        self._complete = parser.should_keep_alive() and parser.get_http_version() == "1.1"

    def _renew(self) -> None:
        self._parser = httptools.HttpRequestParser(self)


def _request(method: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> Request:
    scope = {"method": method, "raw_path": target, "query_string": b"", "headers": headers}
    return Request(scope, _no_body)


async def _no_body() -> Message:
    raise AssertionError("the body of a refused request is not read")
