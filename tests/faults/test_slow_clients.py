"""Clients that are slow, or send too much: each is cut in time, and the others notice nothing.

All of the slow ones run side by side, because each takes as long as the patience of the server.
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

CUT_S: Final = 30.0
DRIP_S: Final = 1.0
HEAD: Final = b"GET /livez HTTP/1.1\r\nHost: finpay\r\n"
LOST: Final = b"POST /nowhere HTTP/1.1\r\nHost: finpay\r\nContent-Length: 5000\r\n\r\n"
BIGGEST: Final = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: finpay\r\n\r\n"
PIPELINED: Final = 40  # as many answers as no kernel buffers for a client that takes none


def test_who_sends_or_takes_a_byte_a_second_is_cut(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    slow: dict[str, Callable[[Api], bytes]] = {
        "says nothing": lambda api: drip(api, b"", b""),
        "sends its head byte by byte": lambda api: drip(api, HEAD, b"X: " + b"a" * 100),
        "sends its body byte by byte": lambda api: drip(
            api, transfer_head(alice), b"{" + b" " * 99
        ),
        "sends a body that nobody wants": lambda api: drip(api, LOST, b"x" * 100),
        "begins a second request": lambda api: drip(api, HEAD + b"\r\n", HEAD * 3),
        "does not take its answers": take_nothing,
    }
    started = time.monotonic()
    with ThreadPoolExecutor(len(slow)) as threads:
        cut = {what: threads.submit(act, api) for what, act in slow.items()}
        served = alice.send(bob, 1, "beside-the-slow")
        said = {what: answer.result(CUT_S + 5) for what, answer in cut.items()}
    assert time.monotonic() - started < CUT_S
    assert served.status == 201
    assert said["says nothing"] == b""
    for what in ("sends its head byte by byte", "sends its body byte by byte"):
        assert said[what].startswith(b"HTTP/1.1 400 "), what
        assert b"application/problem+json" in said[what]
    assert said["sends a body that nobody wants"].startswith(b"HTTP/1.1 404 ")
    assert said["begins a second request"].count(b"HTTP/1.1 200 ") == 1
    assert api.user().balance == 0, "and the server serves on"


@pytest.mark.parametrize(
    "field",
    [b"X: " + b"a" * (MAX_HEAD_BYTES + 1), b"X: abcdefg\r\n" * (MAX_HEAD_BYTES // 8 + 1)],
    ids=["one field", "many fields"],
)
@pytest.mark.parametrize("chunk", [1_000, 1_000_000], ids=["in pieces", "at once"])
def test_headers_are_bounded_together(api: Api, field: bytes, chunk: int) -> None:
    answer = send(api, HEAD + field.removesuffix(b"\r\n") + b"\r\n\r\n", chunk)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Connection"] == "close"
    fits = HEAD + b"X: " + b"a" * (MAX_HEAD_BYTES - 100) + b"\r\n\r\n"
    assert send(api, fits, chunk).status == 200


def test_a_field_that_never_ends_is_not_kept(api: Api) -> None:
    """No line break ever comes, so the parser would gather it for ever."""
    with connected(api, CUT_S) as line:
        line.sendall(HEAD + b"X: ")
        sent = 0
        with suppress(OSError):
            while sent < 8 * MAX_HEAD_BYTES:
                sent += line.send(b"a" * 10_000)
        with suppress(ConnectionResetError):
            assert line.recv(65_536).startswith(b"HTTP/1.1 400 ")


def drip(api: Api, begin: bytes, bytewise: bytes) -> bytes:
    """Sends the rest one byte a second, until the server closes. What it said."""
    heard: list[bytes] = []
    with connected(api, CUT_S) as line:
        listening = threading.Thread(target=lambda: heard.append(all_of(line)))
        listening.start()
        line.sendall(begin)
        for byte in bytewise:
            listening.join(DRIP_S)
            if not listening.is_alive():
                break
            with suppress(OSError):
                line.sendall(bytes([byte]))
        listening.join(CUT_S)
        assert not listening.is_alive(), "never cut"
    return b"".join(heard)


def take_nothing(api: Api) -> bytes:
    """Asks for more than the kernel keeps, reads none of it, and looks whether it is cut."""
    with connected(api, CUT_S) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        line.sendall(BIGGEST * PIPELINED)
        until = time.monotonic() + CUT_S
        while time.monotonic() < until:
            time.sleep(DRIP_S)
            try:
                line.sendall(b"\r\n")  # fails once the other side has given up
            except OSError:
                return b""
    raise AssertionError("never cut")


def transfer_head(user: User) -> bytes:
    return (
        "POST /api/v1/transactions HTTP/1.1\r\nHost: finpay\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {user.token}\r\nX-Idempotency-Key: slow\r\n"
        "Content-Length: 5000\r\n\r\n"
    ).encode()


def send(api: Api, request: bytes, chunk: int) -> HTTPResponse:
    """Its answer, also if it comes before all was sent."""
    with connected(api, CUT_S) as line:
        with suppress(OSError):
            for at in range(0, len(request), chunk):
                line.sendall(request[at : at + chunk])
        answer = HTTPResponse(line)
        answer.begin()
        answer.read()
        return answer


def all_of(line: socket.socket) -> bytes:
    heard = b""
    with suppress(ConnectionResetError):
        while more := line.recv(65_536):
            heard += more
    return heard
