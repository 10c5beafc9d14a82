"""A webhook receiver on loopback: it answers as `behave` says, and records every request."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

import httptools

from tests.support.loop_thread import served_in_thread
from tests.support.waiting import wait_until

HANG: Final = b""  # no answer; the connection stays open
DROP: Final = b"drop"  # the connection is closed without an answer
CLOSE: Final = b"\0close"  # at the end of an answer: the connection is closed after it
CLOSE_POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived. `line` is `POST /path HTTP/1.1`; header names are lower-case."""

    line: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]


Behaviour = Callable[[Request], bytes]


def response(status: int, *headers: str, body: str = "") -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


OK: Final = response(200, body="ok")


class WebhookReceiver:
    """`behave` returns each response: raw bytes (with CLOSE at the end or without), HANG or DROP.

    It may be replaced at any time.
    """

    def __init__(self, behave: Behaviour = lambda _: OK, port: int = 0) -> None:
        self.behave = behave
        self.port = port
        self.requests: list[Request] = []
        self.connections = 0
        self.at_once = 0  # requests without a response
        self.most_at_once = 0
        self.transports: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> set[str]:
        return {request.id for request in list(self.requests)}

    def await_requests(self, count: int, limit_s: float = 20) -> None:
        """Until that many requests have arrived. AssertionError after the limit."""
        wait_until(
            lambda: len(self.requests) >= count, limit_s, lambda: f"{len(self.requests)} arrived"
        )

    async def open(self) -> None:
        """Listen; `port` 0 takes a free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and reset every connection."""
        self._server.close()
        while self.transports:
            for transport in self.transports:
                transport.abort()
            await asyncio.sleep(CLOSE_POLL_S)


class _Connection(asyncio.Protocol):
    """One connection. httptools calls the methods `on_…`."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._unanswered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self._receiver.connections += 1
        self._receiver.transports.add(self._transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._receiver.transports.discard(self._transport)
        self._receiver.at_once -= self._unanswered

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = self._body = b""
        self._headers: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        version = self._parser.get_http_version()
        line = f"{self._parser.get_method().decode()} {self._url.decode()} HTTP/{version}"
        request = Request(line, self._headers, self._body, time.monotonic())
        receiver = self._receiver
        receiver.requests.append(request)
        receiver.at_once += 1
        receiver.most_at_once = max(receiver.most_at_once, receiver.at_once)
        self._unanswered += 1
        answer = receiver.behave(request)
        if answer == HANG:
            return
        if answer == DROP:
            self._transport.close()
            return
        self._transport.write(answer.removesuffix(CLOSE))
        if answer.endswith(CLOSE):
            self._transport.close()
        receiver.at_once -= 1
        self._unanswered -= 1


@contextmanager
def receiving(behave: Behaviour = lambda _: OK, port: int = 0) -> Iterator[WebhookReceiver]:
    """A receiver in a thread, listening until the end of the block."""
    with served_in_thread(WebhookReceiver(behave, port)) as receiver:
        yield receiver
