"""One attempt against every kind of receiver. What it came to has a name."""

import asyncio
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from finpay import ids, settings, signing
from finpay.webhooks.http_connection import MAX_ANSWER_BYTES
from finpay.webhooks.sender import Attempt, Message, Sender
from finpay.webhooks.ssrf.url_policy import UrlPolicy
from tests.delivery.receiver import DROP, HANG, OK, Receiver, status

TIMEOUT_S: Final = 0.5
ENDPOINT: Final = ids.new_uuid()


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    read = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"})
    made = Sender(UrlPolicy.of(read), TIMEOUT_S)
    yield made
    made.close()


async def _send(sender: Sender, url: str) -> Attempt:
    message = Message(ENDPOINT, url, "evt_1", b"{}", [signing.new_secret()])
    return await sender.send(message)


@pytest.mark.contract("6.3.3")
@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_2xx_is_a_receipt(sender: Sender, receiver: Receiver, code: int) -> None:
    receiver.behave = lambda _: status(code)
    attempt = await _send(sender, receiver.url)
    assert (attempt.error, attempt.http_status) == (None, code)


@pytest.mark.contract("6.3.3")
@pytest.mark.parametrize(
    ("code", "error"),
    [(301, "redirect"), (302, "redirect"), (307, "redirect"), (308, "redirect"), (304, "redirect"),
     (400, "bad_status"), (404, "bad_status"), (410, "gone"), (500, "bad_status")],
)  # fmt: skip
async def test_nothing_else_is(sender: Sender, receiver: Receiver, code: int, error: str) -> None:
    receiver.behave = lambda _: status(code, f"Location: {receiver.url}/elsewhere")
    attempt = await _send(sender, receiver.url)
    assert (attempt.error, attempt.http_status) == (error, code)
    assert len(receiver.requests) == 1  # no redirect was followed


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (HANG, "timeout"),
        (DROP, "connection_lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "timeout"),
        (b"HTTP/1.1 200 OK\r\nX: ", "timeout"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "invalid_response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, "invalid_response"),
        (
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "invalid_response",
        ),
    ],
)
async def test_what_is_no_answer(
    sender: Sender, receiver: Receiver, answer: bytes, error: str
) -> None:
    receiver.behave = lambda _: answer
    attempt = await _send(sender, receiver.url)
    assert (attempt.error, attempt.http_status) == (error, None)
    assert attempt.duration_s < TIMEOUT_S + 0.3


async def test_nobody_listens(sender: Sender, receiver: Receiver) -> None:
    attempt = await _send(sender, "http://127.0.0.1:1/")
    assert attempt.error == "connect_failed"


async def test_the_first_2_kb_are_kept(sender: Sender, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(500, body="é" * 5_000 + "\0")
    attempt = await _send(sender, receiver.url)
    assert attempt.answer == "é" * 1_024
    receiver.behave = lambda _: status(500, body="a\0b")
    assert (await _send(sender, receiver.url)).answer == "a�b"


async def test_no_more_than_64_kb_are_read(sender: Sender, receiver: Receiver) -> None:
    """An endless answer that says 200 was a receipt; its connection is not used again."""
    receiver.behave = lambda _: status(200, body="x" * (MAX_ANSWER_BYTES * 20))
    for n in (1, 2):
        attempt = await _send(sender, receiver.url)
        assert (attempt.error, attempt.http_status) == (None, 200)
        assert attempt.answer == "x" * 2_048
        assert receiver.connections == n


async def test_a_bomb_stays_closed(sender: Sender, receiver: Receiver) -> None:
    """Nothing is decompressed, and nothing compressed was asked for."""
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
async def test_forms_of_answers(sender: Sender, receiver: Receiver, answer: bytes) -> None:
    receiver.behave = lambda _: answer
    attempt = await _send(sender, receiver.url)
    assert (attempt.error, attempt.answer) == (None, "ok")


async def test_connections_are_kept_for_their_endpoint(sender: Sender, receiver: Receiver) -> None:
    for _ in range(3):
        await _send(sender, receiver.url)
    assert receiver.connections == 1
    other = Message(ids.new_uuid(), receiver.url, "evt_1", b"{}", [signing.new_secret()])
    await sender.send(other)
    assert receiver.connections == 2


async def test_a_proxy_of_the_environment_is_not_used(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await _send(sender, receiver.url)).error is None


async def test_retry_after_is_heard(sender: Sender, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(503, "Retry-After: 7")
    assert (await _send(sender, receiver.url)).retry_after == "7"


async def test_an_answer_that_trickles_ends_in_time(sender: Sender) -> None:
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
    assert attempt.error == "timeout"
    assert attempt.duration_s < TIMEOUT_S + 0.3


async def test_tls_wants_the_right_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The connection goes to the checked address, the certificate has to be the name's."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example.com").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ours.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "theirs.pem"))
    seen: list[str | None] = []
    context.sni_callback = lambda _, name, __: seen.append(name)

    _resolve_to_loopback(monkeypatch)
    read = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"})
    for trusted, host, error in (
        ("ours", "hooks.example.com", None),
        ("ours", "other.example.com", "tls_failed"),
        ("theirs", "hooks.example.com", "tls_failed"),
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / f"{trusted}.pem"))
        sender = Sender(UrlPolicy.of(read), 5)
        with _speaking_tls(context) as port:
            attempt = await _send(sender, f"https://{host}:{port}/")
            sender.close()
            await asyncio.sleep(0)  # so that it is closed for the other side, too
        assert attempt.error == error, host
    assert seen[0] == "hooks.example.com"


@contextmanager
def _speaking_tls(context: ssl.SSLContext) -> Iterator[int]:
    """The port of a server that answers one connection."""

    def answer() -> None:
        wire, _ = listening.accept()
        with wire, suppress(OSError), context.wrap_socket(wire, server_side=True) as tls:
            tls.recv(65_536)
            tls.sendall(OK)
            tls.recv(1)  # until the other side lets go

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
    thread.join(10)


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


def _resolve_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = socket.getaddrinfo

    def getaddrinfo(name: Any, *args: Any, **more: Any) -> Any:
        inside = isinstance(name, str) and name.endswith("example.com")
        return plain("127.0.0.1" if inside else name, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
