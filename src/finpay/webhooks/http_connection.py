"""One HTTP/1.1 connection to a receiver: a request out, an answer in, with bounds on all of it.

httptools reads the answer. Nothing is decompressed and no redirect is followed, so what a receiver
can make us do is to read MAX_ANSWER_BYTES. A general client (httpx) took 1.9 ms of CPU per delivery
where this takes a tenth, see docs/decisions.
"""

import asyncio
import os
import ssl
import time
from dataclasses import dataclass
from typing import Final, cast

import certifi
import httptools

from finpay.webhooks.ssrf.ip_policy import Address
from finpay.webhooks.ssrf.url_policy import Target

MAX_ANSWER_BYTES: Final = 65_536  # head and body as they come over the wire
KEPT_BYTES: Final = 2_048  # what the owner may see of the body
CONNECT_LIMIT_S: Final = 5.0  # per address, so that a dead one leaves time for the next
MAX_ADDRESSES_TRIED: Final = 4

_CONTINUE: Final = range(100, 200)


class ConnectFailed(Exception):
    """Nobody took the connection."""


class TlsFailed(Exception):
    """The other side is not who its name says, or speaks no TLS that we accept."""


class ConnectionLost(Exception):
    """It ended before the answer did."""


class InvalidResponse(Exception):
    """What came is not an HTTP answer, or has no end within the bounds of its head."""


@dataclass(slots=True)
class Answer:
    """A status and the beginning of a body. `whole` is false where the rest was not read."""

    status: int = 0
    retry_after: str | None = None
    body: bytes = b""
    whole: bool = True


class Connection(asyncio.Protocol):
    """Made by `connect`. One exchange at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reading: _Reading | None = None
        self.opened_s = time.monotonic()
        self.reusable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        if self._reading is None:  # nobody asked
            self.close()
            return
        self._reading.feed(data)

    def eof_received(self) -> None:
        """Close: whoever ends their half has nothing more to say."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.reusable = False
        if self._reading is not None:
            self._reading.end()

    async def exchange(self, request: bytes) -> Answer:
        """The answer. ConnectionLost or InvalidResponse; whoever is cancelled ends the connection."""
        if self._transport is None or not self.reusable:
            raise ConnectionLost
        self._reading = _Reading()
        try:
            self._transport.write(request)
            answer = await self._reading.answer
            if not self._reading.leaves_it_usable:
                self.reusable = False
            return answer
        except BaseException:
            self.reusable = False
            raise
        finally:
            self._reading = None
            if not self.reusable:
                self.close()

    def close(self) -> None:
        """At once: there is nothing left to send."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()


async def connect(target: Target, found: list[Address], tls: ssl.SSLContext | None) -> Connection:
    """A connection to one of these addresses, which were checked; the name is not asked again."""
    failure: Exception = ConnectFailed("no address")
    for address in found[:MAX_ADDRESSES_TRIED]:
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                return await _open(target, address, tls)
        except ssl.SSLError as error:
            failure = TlsFailed(str(error))
        except (OSError, TimeoutError) as error:
            failure = ConnectFailed(str(error))
    raise failure


def tls_context() -> ssl.SSLContext:
    """The system's authorities, and those of certifi for images that have none.

    SSL_CERT_FILE, if set, is the whole list.
    """
    context = ssl.create_default_context()
    if "SSL_CERT_FILE" not in os.environ:
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _open(target: Target, address: Address, tls: ssl.SSLContext | None) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        Connection,
        str(address),
        target.port,
        ssl=tls,
        server_hostname=target.host if target.tls else None,
    )
    return connection


class _Reading:
    """The answer to one request, as httptools reads it: it calls the on_… methods."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.leaves_it_usable = False
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._received_bytes = 0
        self._has_head = False
        self._has_length = False

    def feed(self, data: bytes) -> None:
        if self.answer.done():  # more than one answer to one request
            self.leaves_it_usable = False
            return
        self._received_bytes += len(data)
        room = MAX_ANSWER_BYTES - (self._received_bytes - len(data))
        try:
            self._parser.feed_data(data[:room])
        except httptools.HttpParserUpgrade:
            self._fail(InvalidResponse("it wants another protocol"))
        except httptools.HttpParserError as error:
            self._fail(InvalidResponse(str(error)))
        if len(data) > room:
            self._cut()

    def end(self) -> None:
        """The connection is gone: that is the end of a body without a length, too."""
        if self._has_head and not self._has_length:
            self._succeed()
        else:
            self._fail(ConnectionLost())

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower in (b"content-length", b"transfer-encoding"):
            self._has_length = True
        elif lower == b"retry-after":
            self._answer.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status not in _CONTINUE:
            self._has_head = True
            self._answer.status = status

    def on_body(self, body: bytes) -> None:
        if len(self._answer.body) < KEPT_BYTES:
            self._answer.body = (self._answer.body + body)[:KEPT_BYTES]

    def on_message_complete(self) -> None:
        if self._has_head:
            self.leaves_it_usable = self._parser.should_keep_alive()
            self._succeed()
        else:  # 100 and its like only announce the answer
            self._answer = Answer()
            self._has_length = False

    def _cut(self) -> None:
        """The status is known and the rest is nothing to us; without one it was no answer."""
        if self.answer.done():
            self.leaves_it_usable = False
        elif self._has_head:
            self._answer.whole = False
            self._succeed()
        else:
            self._fail(InvalidResponse("the head has no end"))

    def _succeed(self) -> None:
        if not self.answer.done():
            self.answer.set_result(self._answer)

    def _fail(self, error: Exception) -> None:
        self.leaves_it_usable = False
        if not self.answer.done():
            self.answer.set_exception(error)
