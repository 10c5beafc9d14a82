"""Slow clients and endless requests: each is disconnected in time, and others are not delayed.

The slow clients run in parallel, because each takes as long as the server's time limit.
"""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPResponse
from typing import Final

import pytest

from finpay.edge.http_parser import MAX_HEAD_BYTES
from tests.api_process import Api, User
from tests.faults.api_probes import connected

DISCONNECT_S: Final = 30.0
DRIP_S: Final = 1.0
HEAD: Final = b"GET /livez HTTP/1.1\r\nHost: finpay\r\n"
LOST: Final = b"POST /nowhere HTTP/1.1\r\nHost: finpay\r\nContent-Length: 5000\r\n\r\n"
BIGGEST: Final = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: finpay\r\n\r\n"
PIPELINED: Final = 40  # more answers than a kernel buffers for a client that reads none


def test_slow_client_is_disconnected(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    slow: dict[str, Callable[[Api], bytes]] = {
        "sends nothing": lambda api: drip(api, b"", b""),
        "sends its head byte by byte": lambda api: drip(api, HEAD, b"X: " + b"a" * 100),
        "sends its body byte by byte": lambda api: drip(
            api, transfer_head(alice), b"{" + b" " * 99
        ),
        "sends a body to no route": lambda api: drip(api, LOST, b"x" * 100),
        "begins a second request": lambda api: drip(api, HEAD + b"\r\n", HEAD * 3),
        "reads no answer": read_nothing,
    }
    started = time.monotonic()
    with ThreadPoolExecutor(len(slow)) as threads:
        cut = {what: threads.submit(act, api) for what, act in slow.items()}
        served = alice.send(bob, 1, "not-slow")
        answers = {what: answer.result(DISCONNECT_S + 5) for what, answer in cut.items()}
    assert time.monotonic() - started < DISCONNECT_S
    assert served.status == 201
    assert answers["sends nothing"] == b""
    for what in ("sends its head byte by byte", "sends its body byte by byte"):
        assert answers[what].startswith(b"HTTP/1.1 400 "), what
        assert b"application/problem+json" in answers[what]
    assert answers["sends a body to no route"].startswith(b"HTTP/1.1 404 ")
    assert answers["begins a second request"].count(b"HTTP/1.1 200 ") == 1
    assert api.user().balance == 0, "new requests are answered"


@pytest.mark.parametrize(
    "field",
    [b"X: " + b"a" * (MAX_HEAD_BYTES + 1), b"X: abcdefg\r\n" * (MAX_HEAD_BYTES // 8 + 1)],
    ids=["one field", "many fields"],
)
@pytest.mark.parametrize("chunk", [1_000, 1_000_000], ids=["in pieces", "at once"])
def test_size_of_all_headers_is_limited(api: Api, field: bytes, chunk: int) -> None:
    answer = send(api, HEAD + field.removesuffix(b"\r\n") + b"\r\n\r\n", chunk)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Connection"] == "close"
    fits = HEAD + b"X: " + b"a" * (MAX_HEAD_BYTES - 100) + b"\r\n\r\n"
    assert send(api, fits, chunk).status == 200


def test_header_without_an_end_is_refused(api: Api) -> None:
    """The parser would keep it in memory without a limit."""
    with connected(api, DISCONNECT_S) as connection:
        connection.sendall(HEAD + b"X: ")
        sent = 0
        with suppress(OSError):
            while sent < 8 * MAX_HEAD_BYTES:
                sent += connection.send(b"a" * 10_000)
        with suppress(ConnectionResetError):
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")


def drip(api: Api, begin: bytes, bytewise: bytes) -> bytes:
    """Sends `bytewise` one byte a second until the server closes. Returns the answer."""
    answer: list[bytes] = []
    with connected(api, DISCONNECT_S) as connection:
        reading = threading.Thread(target=lambda: answer.append(read_all(connection)))
        reading.start()
        connection.sendall(begin)
        for byte in bytewise:
            reading.join(DRIP_S)
            if not reading.is_alive():
                break
            with suppress(OSError):
                connection.sendall(bytes([byte]))
        reading.join(DISCONNECT_S)
        assert not reading.is_alive(), "not disconnected"
    return b"".join(answer)


def read_nothing(api: Api) -> bytes:
    """Requests more than the kernel buffers and reads none of it, until it is disconnected."""
    with connected(api, DISCONNECT_S) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(BIGGEST * PIPELINED)
        until = time.monotonic() + DISCONNECT_S
        while time.monotonic() < until:
            time.sleep(DRIP_S)
            try:
                connection.sendall(b"\r\n")  # fails once the server has closed
            except OSError:
                return b""
    raise AssertionError("not disconnected")


def transfer_head(user: User) -> bytes:
    return (
        "POST /api/v1/transactions HTTP/1.1\r\nHost: finpay\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {user.token}\r\nX-Idempotency-Key: slow\r\n"
        "Content-Length: 5000\r\n\r\n"
    ).encode()


def send(api: Api, request: bytes, chunk: int) -> HTTPResponse:
    """The answer, which may arrive before all is sent."""
    with connected(api, DISCONNECT_S) as connection:
        with suppress(OSError):
            for at in range(0, len(request), chunk):
                connection.sendall(request[at : at + chunk])
        answer = HTTPResponse(connection)
        answer.begin()
        answer.read()
        return answer


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionResetError):
        while more := connection.recv(65_536):
            answer += more
    return answer
