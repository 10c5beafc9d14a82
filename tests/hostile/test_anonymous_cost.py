"""The cost of clients without a token: little time and memory, no latency for other clients."""

import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import cycle
from typing import Final

import psutil
import pytest

from tests.api_process import Api, User
from tests.hostile.exchange import HOST, chunked, connected, head, transfer
from tests.hostile.json_shapes import SHAPES
from tests.servers import OwnValkey
from tests.support.raw_http import Connection, Response, get_status
from tests.support.tcp_proxy import port_of

MIB: Final = 2**20
MAX_CPU_S: Final = 400e-6  # of a refused request
MAX_LARGE_CPU_S: Final = 4e-3  # of one with 1 MiB, most of which the kernel drops
MAX_LIVEZ_S: Final = 0.050
TRIES: Final = 4  # other processes on the machine cost time and processor caches
RATE: Final = 200
LOAD_S: Final = 4.0
PROBE_S: Final = 0.02
CONNECTIONS: Final = 10
ROUNDS: Final = 40


@pytest.fixture(scope="module")
def shapes() -> dict[str, bytes]:
    """Bodies that were slow to read, or large: 64 KiB without the smallest."""
    slow = ("a long key and many values", "many members", "one long text of short escapes",
            "opened and closed", "many empty objects")  # fmt: skip
    return {"nothing": b"{}"} | {name: SHAPES[name](60_000) for name in slow}


@pytest.fixture
def limited(serve: Callable[..., Api]) -> Api:
    """One process whose limit for this address is used up."""
    api = serve(FINPAY_WORKERS="1", FINPAY_RATE_LIMIT_AUTH="1/900", FINPAY_RATE_LIMIT_GLOBAL="9/9")
    with connected(api.url) as connection:
        for _ in range(2):
            connection.send(login(b"{}"))
            last = connection.response()
    assert last is not None
    assert last.status == 429
    return api


def login(body: bytes, path: str = "/auth/login") -> bytes:
    return (
        head(
            f"POST /api/v1{path} HTTP/1.1",
            HOST,
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        + body
    )


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def cost_s(api: Api, body: bytes, path: str) -> float:
    """Processor time of one refused request, of which some arrive together."""
    (worker,) = api.workers()
    before_s = cpu_s(worker)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(api.url)) for _ in range(CONNECTIONS)]
        for _ in range(ROUNDS):
            for client in clients:
                client.send(login(body, path))
            for client in clients:
                response = client.response()
                assert response is not None
                assert response.status == 429
    return (cpu_s(worker) - before_s) / (CONNECTIONS * ROUNDS)


@pytest.mark.fault("D7", "D1")
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register", "/auth/refresh"])
def test_request_over_its_limit_costs_little_whatever_its_body(
    limited: Api, shapes: dict[str, bytes], path: str
) -> None:
    for name, body in shapes.items():
        assert any(cost_s(limited, body, path) < MAX_CPU_S for _ in range(TRIES)), name


@pytest.mark.fault("D7")
def test_user_over_the_limit_costs_little_whatever_the_body(
    serve: Callable[..., Api], own_valkey: Callable[..., OwnValkey]
) -> None:
    """Refusals are not counted, so there may be any number of them."""
    limit = {"FINPAY_WORKERS": "1", "FINPAY_RATE_LIMIT_GLOBAL": "2/900"}
    api = serve(REDIS_URL=own_valkey().url, **limit)
    user = api.user()
    for shape in ("as many members as may be", "receivers at different domains"):
        request = batch(user, SHAPES[shape](MIB))
        for _ in range(3):
            last = refused(api, request)
        assert (last.status, last.json()["policy"]) == (429, "global")
        assert "ratelimit" in last.headers
        assert any(refusal_cost_s(api, request) < MAX_LARGE_CPU_S for _ in range(TRIES)), shape
        assert refused(api, batch(user, b"[]")).status == 429


def batch(user: User, body: bytes) -> bytes:
    lines = ("Content-Type: application/json", "X-Idempotency-Key: k")
    token = f"Authorization: Bearer {user.token}"
    length = f"Content-Length: {len(body)}"
    return head("POST /api/v1/transactions/batch HTTP/1.1", HOST, token, *lines, length) + body


def refused(api: Api, request: bytes) -> Response:
    with connected(api.url) as connection:
        with suppress(ConnectionError):
            connection.send(request)
        response = connection.response()
    assert response is not None
    return response


def refusal_cost_s(api: Api, request: bytes) -> float:
    (worker,) = api.workers()
    before_s = cpu_s(worker)
    for _ in range(CONNECTIONS):
        assert refused(api, request).status == 429
    return (cpu_s(worker) - before_s) / CONNECTIONS


@pytest.mark.fault("D2")
@pytest.mark.parametrize("framing", ["chunks of 2 bytes", "a length"])
def test_memory_of_a_connection_is_at_most_twice_its_body_limit(
    serve: Callable[..., Api], api: Api, framing: str
) -> None:
    """A quarter of the limit on each of ten connections, none of them finished."""
    served, user = serve(FINPAY_WORKERS="1"), api.user()
    (worker,) = served.workers()
    before = worker.memory_info().rss
    with ExitStack() as stack:
        for number in range(CONNECTIONS):
            connection = stack.enter_context(connected(served.url))
            connection.send(unfinished(user, f"memory-{number}", framing))
        until_s = time.monotonic() + 30
        while time.monotonic() < until_s and is_busy(worker):
            grown = worker.memory_info().rss - before
            assert grown < CONNECTIONS * 2 * MIB
    assert get_status_of(served) == 200


def unfinished(user: User, key: str, framing: str) -> bytes:
    body = b"[" + b" " * (MIB // 4)
    field = (
        "Transfer-Encoding: chunked" if framing.startswith("chunks") else f"Content-Length: {MIB}"
    )
    request = transfer(user, user, key, framing=field)
    start = request.replace(b"/api/v1/transactions ", b"/api/v1/transactions/batch ")
    return start + (chunked(body, 2) if framing.startswith("chunks") else body)


def is_busy(worker: psutil.Process) -> bool:
    return worker.cpu_percent(0.1) > 20


@pytest.mark.fault("D2")
def test_chunks_without_a_token_are_refused_and_not_kept(serve: Callable[..., Api]) -> None:
    served = serve(FINPAY_WORKERS="1")
    (worker,) = served.workers()
    before = worker.memory_info().rss
    request = head(
        "POST /api/v1/transactions/batch HTTP/1.1", HOST, "Content-Type: application/json",
        "Transfer-Encoding: chunked",
    )  # fmt: skip
    for _ in range(CONNECTIONS):
        with connected(served.url) as connection:
            connection.send(request + chunked(b" " * 60_000, 2))
            refused = connection.response()
            assert refused is not None
            assert refused.status == 401
            assert refused.headers["connection"] == "close"
    assert worker.memory_info().rss - before < 2 * MIB * CONNECTIONS


def get_status_of(api: Api) -> int:
    return asyncio.run(get_status(port_of(api.url), "/livez", 5))


@pytest.mark.fault("D1", "D7")
def test_requests_without_a_token_do_not_slow_livez(limited: Api, shapes: dict[str, bytes]) -> None:
    requests = [
        login(body, path) for body in shapes.values() for path in ("/auth/login", "/auth/x")
    ]
    requests.append(
        head("GET /api/v1/accounts HTTP/1.1", HOST, f"Authorization: Bearer {'x.' * 999}")
    )
    port = port_of(limited.url)
    assert any(asyncio.run(livez_p99_s(port, requests)) < MAX_LIVEZ_S for _ in range(TRIES))


async def livez_p99_s(port: int, requests: list[bytes]) -> float:
    """While RATE requests a second arrive on a few connections."""
    async with asyncio.TaskGroup() as tasks:
        loads = [tasks.create_task(send_at_rate(port, requests, RATE / 4)) for _ in range(4)]
        seconds = await probed_s(port)
    assert sum(load.result() for load in loads) > RATE * LOAD_S * 0.8, "the load was not reached"
    return statistics.quantiles(seconds, n=100)[98]


async def send_at_rate(port: int, requests: list[bytes], rate: float) -> int:
    connection = await Connection.open(port)
    started_s, sent = time.monotonic(), 0
    for request in cycle(requests):
        if connection.closed:
            connection = await Connection.open(port)
        assert (await connection.exchange(request)).status in {401, 404, 429}
        sent += 1
        await asyncio.sleep(max(0.0, started_s + sent / rate - time.monotonic()))
        if time.monotonic() - started_s > LOAD_S:
            break
    connection.close()
    return sent


async def probed_s(port: int) -> list[float]:
    """Times of /livez on connections of their own."""
    seconds: list[float] = []
    until_s = time.monotonic() + LOAD_S
    while time.monotonic() < until_s:
        started_s = time.monotonic()
        assert await get_status(port, "/livez", 5) == 200
        seconds.append(time.monotonic() - started_s)
        await asyncio.sleep(PROBE_S)
    return seconds
