"""Bytes that are one whole request are refused before uvicorn parses them; no others are."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from finpay.edge.load_limits import MAX_IN_FLIGHT, InFlight
from finpay.edge.load_shedding import MAX_BYTES, STATE, LoadShedder, refuse
from finpay.edge.response import HeaderWriter

GET = b"GET /api/v1/accounts HTTP/1.1\r\nHost: finpay.test\r\n"
POST = (
    b"POST /api/v1/transactions HTTP/1.1\r\nHost: finpay.test\r\nContent-Length: 2\r\n"
    b"Content-Type: application/json\r\n"
)
CHUNKED = POST.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")
TRACE = b"traceparent: 00-" + 32 * b"1" + b"-" + 16 * b"2" + b"-01\r\n"
KEEP_ALIVE_S = 65


class Shedder:
    """A LoadShedder of a process with `in_flight` requests, and what it logged."""

    def __init__(self, in_flight: int = MAX_IN_FLIGHT) -> None:
        self.logged: list[Any] = []
        health: Any = SimpleNamespace(draining=False)
        log: Any = SimpleNamespace(record=lambda *record: self.logged.append(record))
        counted = InFlight()
        counted.count = in_flight
        self.health = health
        self.shedder = LoadShedder(counted, HeaderWriter(()), log, health)


class Connection:
    """What `refuse` uses of HttpProtocol; idle."""

    def __init__(self, shedder: LoadShedder | None) -> None:
        self.app_state = {} if shedder is None else {STATE: shedder}
        self.loop = asyncio.get_running_loop()
        self.sent: list[bytes] = []
        self.buffered: Any = SimpleNamespace(send=self.sent.append)
        self.server_state: Any = SimpleNamespace(default_headers=[(b"date", b"today")])
        self.flow: Any = SimpleNamespace(write_paused=False)
        self.since_s = 0.0
        self.timeout_keep_alive = KEEP_ALIVE_S
        self.timeout_keep_alive_task: asyncio.TimerHandle | None = None
        self.is_waiting = True
        self.is_receiving = False

    def timeout_keep_alive_handler(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("request_", "request_id", "trace_id"),
    [
        (GET + b"\r\n", None, None),
        (POST + b"\r\n{}", None, None),
        (CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n", None, None),
        (CHUNKED + b"\r\n0\r\nX-Request-Id: trailer\r\n" + TRACE + b"\r\n", None, None),
        (CHUNKED + b"X-Request-Id: shop-2\r\n\r\n0\r\nX-Request-Id: x\r\n\r\n", "shop-2", None),
        (POST + b"X-Request-ID: shop-1\r\n\r\n{}", "shop-1", None),
        (GET + b"X-Request-Id: " + 128 * b"a" + b"\r\n\r\n", 128 * "a", None),
        (GET + b"X-Request-Id: ~~\r\n\r\n", None, None),
        (GET + TRACE + b"\r\n", None, 32 * "1"),
    ],
)  # fmt: skip
async def test_whole_request_is_refused(
    request_: bytes, request_id: str | None, trace_id: str | None
) -> None:
    made = Shedder()
    refusal = made.shedder.refusal(request_)
    assert refusal is not None
    head, body = refusal
    lines = head.decode().split("\r\n")
    problem = json.loads(body)
    assert lines[0] == "HTTP/1.1 503 Service Unavailable"
    assert {"retry-after: 1", f"content-length: {len(body)}"} <= set(lines)
    assert f"x-request-id: {problem['request_id']}" in lines
    assert problem["code"] == "overloaded"
    assert problem["request_id"].startswith(request_id or "req_")
    assert len(problem["request_id"]) == len(request_id or 30 * "-")
    ((_, request, response, _),) = made.logged
    assert (request.id, request.trace_id) == (problem["request_id"], trace_id)
    assert (response.status, response.code) == (503, "overloaded")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        GET,
        POST + b"\r\n{",
        GET + b"\r\n" + GET,
        GET + b"\r\n" + GET + b"\r\n",
        GET.replace(b"accounts", b"health") + b"\r\n",
        GET.replace(b"/api/v1/accounts", b"/readyz") + b"\r\n",
        GET.replace(b"GET", b"HEAD") + b"\r\n",
        GET.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n",
        GET + b"Connection: close\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        GET + b"Origin: https://shop.example\r\n\r\n",
        GET + b"Host: finpay.test\r\n\r\n",
        b"GET /api/v1/accounts HTTP/1.1\r\n\r\n",
        GET + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        GET + b"X: " + MAX_BYTES * b"x" + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
async def test_all_else_is_left_to_the_parser_of_the_connection(data: bytes) -> None:
    made = Shedder()
    assert made.shedder.refusal(data) is None
    assert made.shedder.refusal(GET + b"\r\n") is not None, "the next one is parsed from its start"
    assert len(made.logged) == 1


async def test_draining_process_leaves_closing_to_the_application() -> None:
    made = Shedder()
    made.health.draining = True
    assert made.shedder.refusal(GET + b"\r\n") is None


async def test_requests_that_start_in_one_tick_count_at_once() -> None:
    made = Shedder(MAX_IN_FLIGHT - 2)
    assert [made.shedder.has_capacity() for _ in range(4)] == [True, True, False, False]
    await asyncio.sleep(0)
    assert made.shedder.has_capacity(), "from the next tick the application counts them"


async def test_refusal_renews_the_keep_alive_timer() -> None:
    connection = Connection(Shedder().shedder)
    before_s = connection.loop.time()
    assert refuse(connection, GET + b"\r\n")
    first = connection.timeout_keep_alive_task
    assert refuse(connection, GET + b"\r\n")
    second = connection.timeout_keep_alive_task
    assert first is not None
    assert first.cancelled()
    assert second is not None
    assert before_s + KEEP_ALIVE_S <= second.when() <= connection.loop.time() + KEEP_ALIVE_S
    assert connection.since_s >= before_s
    assert [each.count(b"date: today\r\n\r\n{") for each in connection.sent] == [1, 1]
    second.cancel()


async def test_busy_connections_and_free_processes_are_not_refused() -> None:
    made = Shedder()
    receiving, answering, slow = (Connection(made.shedder) for _ in range(3))
    receiving.is_receiving = True
    answering.is_waiting = False
    slow.flow.write_paused = True  # its client does not read
    free = Connection(Shedder(0).shedder)
    for connection in (receiving, answering, slow, free, Connection(None)):
        assert not refuse(connection, GET + b"\r\n")
        assert not connection.sent
