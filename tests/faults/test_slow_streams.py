"""Readers of a statement that is streamed: a slow one gets all of it, a stopped one is cut."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

import pytest

from finpay.edge.slow_clients import CHECK_TIMEOUTS_S
from finpay.edge.streaming import MAX_STREAMS_PER_USER
from tests.api.statement_accounts import WriteHistory
from tests.api_process import Api, User
from tests.faults.api_probes import connected

ENTRIES: Final = 100_000  # 11 MB, more than a socket buffers
SLOW_S: Final = 3.5 * CHECK_TIMEOUTS_S
STREAMED: Final = (
    "/api/v1/accounts/statement?from=2026-01-01&to=2026-03-31&format=csv",
    "/api/v1/auth/export",
)
PAUSE_S: Final = 0.1
CUT_S: Final = 40.0
LAST_CHUNK: Final = b"\r\n\r\n0\r\n\r\n"  # after the line break of the last row


@pytest.mark.contract("11.4.8")
async def test_slow_reader_gets_the_whole_statement_and_a_stopped_one_is_cut(
    serve: Callable[..., Api], fresh_database: Callable[[], str], write_history: WriteHistory
) -> None:
    own = serve(DATABASE_URL=fresh_database())
    user = own.user()
    await write_history(own, user, own.user(), ENTRIES)
    with ThreadPoolExecutor(2) as threads:
        stopped = threads.submit(read_nothing, own, user)
        slow = threads.submit(read_slowly, own, user)
        body = slow.result()
        stopped.result()
    assert body.endswith(LAST_CHUNK)
    assert body.count(b",transfer,") == ENTRIES


@pytest.mark.fault("D10")
async def test_streams_of_one_user_are_limited_and_others_are_sent(
    serve: Callable[..., Api], fresh_database: Callable[[], str], write_history: WriteHistory
) -> None:
    """Each holds some MB while its reader is slow."""
    own = serve(DATABASE_URL=fresh_database(), FINPAY_WORKERS="1")
    user, other = own.user(), own.user(1)
    await write_history(own, user, own.user(), ENTRIES // 10)
    with ExitStack() as stack:
        for _ in range(MAX_STREAMS_PER_USER):
            connection = stack.enter_context(connected(own, CUT_S))
            request(connection, user, 4 * 1024)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        for path in STREAMED:
            refused = user.client.request("GET", path)
            assert (refused.status, refused.json()["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"] == "1"
            assert other.client.request("GET", path).status == 200
        assert user.client.request("HEAD", STREAMED[0]).status == 200
        assert user.get("/accounts").status == 200
    until_s = time.monotonic() + CUT_S
    while user.client.request("GET", STREAMED[0]).status == 503:
        assert time.monotonic() < until_s
    for _ in range(2 * MAX_STREAMS_PER_USER):
        assert user.client.request("GET", STREAMED[1]).status == 200


def read_slowly(own: Api, user: User) -> bytes:
    """Takes less than is made, over several checks of the server; then the rest."""
    received = b""
    with connected(own, CUT_S) as connection:
        request(connection, user, 64 * 1024)
        until_s = time.monotonic() + SLOW_S
        while more := connection.recv(32_768):
            received += more
            if time.monotonic() < until_s:
                time.sleep(PAUSE_S)
            elif received.endswith(LAST_CHUNK):
                break
    return received


def read_nothing(own: Api, user: User) -> None:
    """Returns when the server has closed the connection."""
    with connected(own, CUT_S) as connection:
        request(connection, user, 4 * 1024)
        until_s = time.monotonic() + CUT_S
        while time.monotonic() < until_s:
            time.sleep(1)
            try:
                connection.sendall(b"\r\n")
            except OSError:
                return
    raise AssertionError("the connection of a stopped reader was kept")


def request(connection: socket.socket, user: User, buffer_bytes: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.sendall(
        b"GET /api/v1/accounts/statement?from=2026-01-01&to=2026-03-31&format=csv HTTP/1.1\r\n"
        b"Host: finpay\r\nAuthorization: Bearer " + user.token.encode() + b"\r\n\r\n"
    )
