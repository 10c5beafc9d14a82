"""More connections than a process may open files for: others are answered all the same.

Those that wait longest for their client are closed, so that what is opened and kept by one client
can't keep out the next.
"""

import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Final

import psutil
import pytest

from finpay.edge import connection_limit
from tests.api_process import Api
from tests.hostile.exchange import HOST, connected, head, statuses, transfer
from tests.support.tcp_proxy import port_of

FILES: Final = 300
HELD: Final = 700
PROBES: Final = 20
MAX_PROBE_S: Final = 0.5
LOGIN: Final = "POST /api/v1/auth/login HTTP/1.1"

# What each connection sends, to be kept open by the server.
KEPT: Final = {
    "nothing": b"",
    "the begin of a request line": b"GET /li",
    "half a head": b"GET /livez HTTP/1.1\r\nX:",
    "half a body": head(LOGIN, HOST, "Content-Type: application/json", "Content-Length: 50") + b"{",
    "half a chunk": head(LOGIN, HOST, "Transfer-Encoding: chunked") + b"30\r\n{",
    "a whole request": head("GET /livez HTTP/1.1", HOST),
    "a body that is not read": head("POST /livez HTTP/1.1", HOST, "Content-Length: 90000") + b"x",
    "bytes that are no request": b"\x00\x00\r\n",
}


@pytest.fixture
def small(serve: Callable[..., Api]) -> Api:
    """One process that may open few files."""
    api = serve(FINPAY_WORKERS="1")
    (worker,) = api.workers()
    worker.rlimit(psutil.RLIMIT_NOFILE, (FILES, FILES))
    return api


@pytest.fixture
def holding(small: Api) -> Iterator[Callable[[bytes], None]]:
    """Opens HELD connections that send some bytes and stay."""
    with ExitStack() as stack:

        def hold(data: bytes) -> None:
            for _ in range(HELD):
                connection = socket.create_connection(("127.0.0.1", port_of(small.url)))
                stack.callback(connection.close)
                with suppress(OSError):  # closed already, for one of the next
                    connection.sendall(data)

        yield hold


@pytest.mark.fault("D9")
@pytest.mark.parametrize("kept", KEPT)
def test_kept_connections_keep_no_client_out(
    small: Api, holding: Callable[[bytes], None], kept: str
) -> None:
    alice, bob = small.user(1_000), small.user()
    before = bob.balance
    holding(KEPT[kept])
    started_s = time.monotonic()
    for _ in range(PROBES):
        assert statuses(small.url, head("GET /livez HTTP/1.1", HOST)) == [200]
    assert time.monotonic() - started_s < PROBES * MAX_PROBE_S
    with connected(small.url) as connection:
        for n in range(5):
            connection.send(transfer(alice, bob, f"many-{n}"))
            response = connection.response()
            assert response is not None
            assert response.status == 201
    assert bob.balance == before + 5
    (worker,) = small.workers()
    assert worker.num_fds() < FILES


def test_request_that_has_arrived_keeps_its_connection(
    small: Api, holding: Callable[[bytes], None]
) -> None:
    """Its response comes although many connections are opened after it."""
    alice, bob = small.user(1_000), small.user()
    before = bob.balance
    requests = [transfer(alice, bob, f"arrived-{n}") for n in range(40)]
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(small.url)) for _ in requests]
        for client, request in zip(clients, requests, strict=True):
            client.send(request)
        holding(b"")
        for client in clients:
            response = client.response()
            assert response is not None
            assert response.status == 201
    assert bob.balance == before + len(requests)


def test_the_file_limit_of_a_process_is_raised(api: Api) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for worker in api.workers():
        soft, _ = worker.rlimit(psutil.RLIMIT_NOFILE)
        assert soft >= min(hard, 2 * connection_limit.MAX_CONNECTIONS)
