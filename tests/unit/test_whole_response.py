"""A response in one write says what the messages of ASGI say, and leaves to them what it can't."""

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from finpay.edge.request.model import Request
from finpay.edge.response import HeaderWriter, Response
from finpay.edge.whole_response import SendWhole, offer, take
from finpay.gate.rate_limits import LimitState, Tier
from finpay.settings import RateLimit

ORIGIN = "https://shop.example"
DATE = (b"date", b"Sun, 29 Nov 2026 12:00:00 GMT")
LIMIT = LimitState(Tier("global", "key", RateLimit(100, 60)), 99, 60)


def request(path: str = "/api/v1/accounts", **headers: str) -> Request:
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"method": "GET", "path": path, "query_string": b"", "headers": fields}
    receive: Any = None
    return Request(scope, receive)


@pytest.mark.parametrize(
    ("response", "asked"),
    [
        (Response(200, b"{}"), request()),
        (Response(204, content_type=None), request()),
        (Response(404, b"{}", b"application/problem+json"), request(origin=ORIGIN)),
        (Response(200, b"<html>", b"text/html"), request("/docs")),
        (Response(200, b"[]", limits=(LIMIT,)), request()),
        (Response(200, headers={"Link": "<x>; rel=next", "Cache-Control": "no-cache"}), request()),
    ],
)
def test_head_has_the_fields_of_asgi(response: Response, asked: Request) -> None:
    writer = HeaderWriter((ORIGIN,))
    status_line, *lines = writer.head(response, asked).split(b"\r\n")
    assert status_line.startswith(b"HTTP/1.1 %d " % response.status)
    assert lines == [b"%b: %b" % field for field in writer.fields(response, asked)] + [b""]


def test_line_break_in_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="line break"):
        HeaderWriter(()).head(Response(200, headers={"Link": "a\r\nb: c"}), request())


class Connection:
    """What `offer` uses of the protocol and of uvicorn's cycle."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.completed = 0
        self.flow = SimpleNamespace(write_paused=False)
        self.server_state = SimpleNamespace(default_headers=[DATE])
        self.buffered = SimpleNamespace(send=self.writes.append)
        self.cycle = SimpleNamespace(
            disconnected=False,
            keep_alive=True,
            response_started=False,
            response_complete=False,
            message_event=SimpleNamespace(set=lambda: None),
            on_response=self._complete,
        )

    def _complete(self) -> None:
        self.completed += 1

    def offered(self) -> SendWhole:
        scope: dict[str, Any] = {}
        protocol: Any = self
        offer(protocol, self.cycle, scope)
        send = take(scope)
        assert send is not None
        return send


def test_response_is_one_write_with_the_fields_of_the_server() -> None:
    connection = Connection()
    assert connection.offered()(b"HTTP/1.1 200 OK\r\na: b\r\n", b"body")
    assert connection.writes == [
        b"HTTP/1.1 200 OK\r\na: b\r\ndate: Sun, 29 Nov 2026 12:00:00 GMT\r\n\r\nbody"
    ]
    assert connection.completed == 1
    assert connection.cycle.response_started
    assert connection.cycle.response_complete


@pytest.mark.parametrize("reason", ["disconnected", "write_paused", "not keep_alive"])
def test_nothing_is_sent_where_the_messages_of_asgi_have_to_be(reason: str) -> None:
    """A client that is gone, one that reads slowly, and a connection that has to be closed."""
    connection = Connection()
    connection.cycle.disconnected = reason == "disconnected"
    connection.flow.write_paused = reason == "write_paused"
    connection.cycle.keep_alive = reason != "not keep_alive"
    assert not connection.offered()(b"HTTP/1.1 200 OK\r\n", b"body")
    assert connection.writes == []
    assert connection.completed == 0
    assert not connection.cycle.response_started


class Cycle:
    """Refers to the scope of its request, as uvicorn's cycle does."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope


def test_request_is_freed_without_the_garbage_collector() -> None:
    """Garbage of each request that refers to itself made every hundredth request wait for 50 ms."""
    scope: dict[str, Any] = {}
    cycle = Cycle(scope)
    freed = weakref.ref(cycle)
    protocol: Any = Connection()
    gc.disable()
    try:
        offer(protocol, cycle, scope)
        send = take(scope)
        assert send is not None
        del cycle, scope, send
        assert freed() is None
    finally:
        gc.enable()


def test_other_servers_offer_nothing() -> None:
    assert take({}) is None
    assert take({"extensions": {"http.response.trailers": {}}}) is None
