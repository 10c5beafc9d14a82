"""One attempt against every kind of receiver: its result has a name."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import pytest

from finpay import ids, settings, signing
from finpay.webhooks import http_client
from finpay.webhooks.messages import Attempt, Message
from finpay.webhooks.response_guard import MAX_RESPONSE_BYTES
from finpay.webhooks.sender import Sender
from finpay.webhooks.ssrf.url_policy import UrlPolicy
from tests.delivery.names import FixedNames
from tests.delivery.receiver import CLOSE, DROP, HANG, OK, Receiver, status

TIMEOUT_S: Final = 0.5
HEAD: Final = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    read = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"})
    made = Sender(UrlPolicy.of(read), TIMEOUT_S, FixedNames("127.0.0.1"))
    yield made
    await made.close()


async def _send(sender: Sender, url: str) -> Attempt:
    message = Message(ids.new_uuid(), ids.new_uuid(), url, "evt_1", b"{}", [signing.new_secret()])
    return await sender.send(message)


@pytest.mark.contract("6.3.3")
@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_2xx_is_a_success(sender: Sender, receiver: Receiver, code: int) -> None:
    receiver.behave = lambda _: status(code)
    attempt = await _send(sender, receiver.url)
    assert (attempt.error, attempt.http_status) == (None, code)


@pytest.mark.contract("6.3.3")
@pytest.mark.parametrize(
    ("code", "error"),
    [(301, "redirect"), (302, "redirect"), (307, "redirect"), (308, "redirect"), (304, "redirect"),
     (400, "bad_status"), (404, "bad_status"), (410, "gone"), (500, "bad_status")],
)  # fmt: skip
async def test_other_status_is_an_error(
    sender: Sender, receiver: Receiver, code: int, error: str
) -> None:
    receiver.behave = lambda _: status(code, f"Location: {receiver.url}/elsewhere")
    attempt = await _send(sender, receiver.url)
    assert (attempt.error, attempt.http_status) == (error, code)
    assert len(receiver.requests) == 1  # no redirect was followed


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (HANG, "timeout"),
        (DROP, "connection_lost"),
        (b"HTTP/1.1 200 OK\r\nX: ", "timeout"),
        (b"HTTP/1.1 200 OK\r\nX: \r\n" * 10, "invalid_response"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000, "invalid_response"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000, "invalid_response"),
        (b"HTTP/1.1 099 Low\r\n\r\n", "invalid_response"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "invalid_response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, "invalid_response"),
        (
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "invalid_response",
        ),
    ],
)
async def test_malformed_head_is_an_error_without_status(
    sender: Sender, receiver: Receiver, answer: bytes, error: str
) -> None:
    receiver.behave = lambda _: answer
    attempt = await _send(sender, receiver.url)
    assert (attempt.error, attempt.http_status) == (error, None)
    assert attempt.duration_s < TIMEOUT_S + 0.3


@pytest.mark.fault("W1")
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 10\r\n\r\nok",
        b"Content-Length: 10\r\n\r\n",
        b"Content-Length: 2\r\n\r\nok and more",
        b"Content-Length: 0\r\n\r\nbody",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000,
        b"Connection: close\r\n\r\n" + b"x" * 200_000,
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nnot",
    ],
)
@pytest.mark.parametrize("ending", ["closed", "open"])
async def test_2xx_is_a_success_however_the_body_ends(
    receiver: Receiver, rest: bytes, ending: str
) -> None:
    read = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"})
    sender = Sender(UrlPolicy.of(read), 20)
    receiver.behave = lambda _: HEAD + rest + (CLOSE if ending == "closed" else b"")
    attempt = await _send(sender, receiver.url)
    await sender.close()
    assert (attempt.error, attempt.http_status) == (None, 200)
    assert attempt.duration_s < http_client.BODY_LIMIT_S + 1


async def test_error_status_is_recorded_when_the_body_is_cut(
    sender: Sender, receiver: Receiver
) -> None:
    receiver.behave = lambda _: status(503, "Retry-After: 7", body="busy")[:-1] + CLOSE
    attempt = await _send(sender, receiver.url)
    assert (attempt.error, attempt.http_status) == ("bad_status", 503)
    assert (attempt.retry_after, attempt.answer) == ("7", "bus")


async def test_endless_interim_responses_do_not_stall_the_event_loop(
    sender: Sender, receiver: Receiver
) -> None:
    receiver.behave = lambda _: b"HTTP/1.1 100 Continue\r\n\r\n" * 400_000
    assert any([await _longest_stall_s(sender, receiver) < 0.1 for _ in range(3)])


async def _longest_stall_s(sender: Sender, receiver: Receiver) -> float:
    """Of the event loop while an attempt is made, on a machine that may be busy."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(_send(sender, receiver.url))
    longest_s = 0.0
    while not task.done():
        before_s = loop.time()
        await asyncio.sleep(0.001)
        longest_s = max(longest_s, loop.time() - before_s)
    assert (await task).error == "invalid_response"
    return longest_s


async def test_closed_port_is_connect_failed(sender: Sender, receiver: Receiver) -> None:
    attempt = await _send(sender, "http://127.0.0.1:1/")
    assert attempt.error == "connect_failed"


async def test_first_2_kib_of_the_body_are_stored(sender: Sender, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(500, body="é" * 5_000 + "\0")
    attempt = await _send(sender, receiver.url)
    assert attempt.answer == "é" * 1_024
    receiver.behave = lambda _: status(500, body="a\0b")
    assert (await _send(sender, receiver.url)).answer == "a�b"


async def test_body_over_64_kib_is_a_success_whose_connection_is_closed(
    sender: Sender, receiver: Receiver
) -> None:
    receiver.behave = lambda _: status(200, body="x" * (MAX_RESPONSE_BYTES * 20))
    for n in (1, 2):
        attempt = await _send(sender, receiver.url)
        assert (attempt.error, attempt.http_status) == (None, 200)
        assert attempt.answer == "x" * 2_048
        assert receiver.connections == n


async def test_compressed_body_is_not_decompressed(sender: Sender, receiver: Receiver) -> None:
    """Nor was one asked for."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    receiver.behave = lambda _: head.encode() + bomb
    attempt = await _send(sender, receiver.url)
    assert attempt.error is None
    assert len((attempt.answer or "").encode()) <= 3 * 2_048
    assert receiver.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_framing_of_http_1_is_understood(
    sender: Sender, receiver: Receiver, answer: bytes
) -> None:
    receiver.behave = lambda _: answer
    attempt = await _send(sender, receiver.url)
    assert (attempt.error, attempt.answer) == (None, "ok")


async def test_connection_is_kept_for_its_host(sender: Sender, receiver: Receiver) -> None:
    for _ in range(3):
        await _send(sender, receiver.url)
    assert receiver.connections == 1
    await _send(sender, receiver.url.replace("127.0.0.1", "hooks.example.com"))
    assert receiver.connections == 2


async def test_connection_is_replaced_after_its_age_limit(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The addresses of a name can change while the connection to the old one works."""
    monkeypatch.setattr(http_client, "SESSION_AGE_S", 0.05)
    for n in range(1, http_client.MAX_SESSIONS + 3):
        await _send(sender, receiver.url)
        await _send(sender, receiver.url)
        assert receiver.connections == n
        await asyncio.sleep(0.06)


async def test_data_on_an_idle_connection_closes_it(sender: Sender, receiver: Receiver) -> None:
    """It would be read as the response to the next request."""
    receiver.behave = lambda _: status(200) + status(410)
    assert (await _send(sender, receiver.url)).http_status == 200
    receiver.behave = lambda _: status(204)
    assert (await _send(sender, receiver.url)).http_status == 204
    assert receiver.connections == 2


async def test_proxy_of_the_environment_is_ignored(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await _send(sender, receiver.url)).error is None


async def test_retry_after_is_returned(sender: Sender, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(503, "Retry-After: 7")
    assert (await _send(sender, receiver.url)).retry_after == "7"


async def test_slow_body_is_cut_and_the_status_decides(sender: Sender) -> None:
    ended = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with suppress(ConnectionError):
            while not reader.at_eof() and not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        await _end(writer)
        ended.set()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    attempt = await _send(sender, f"http://127.0.0.1:{port}/")
    server.close()
    await asyncio.wait_for(ended.wait(), 5)
    assert (attempt.error, attempt.http_status) == (None, 200)
    assert attempt.duration_s < TIMEOUT_S + 0.3


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
