"""One HTTP/1.1 connection: uvicorn's server before it, llhttp's parser in it, the pipeline behind.

A request is handed on when it is whole, and its answer is one write. There is no ASGI between:
its conversation (two messages back, a list of pairs for the headers each way) cost a quarter of a
cached read, see docs/decisions/0009-no-asgi.md.

What can't be read as HTTP never reaches the pipeline. It is answered as problem+json all the same.
"""

import asyncio
import os
import socket
from collections import deque
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.server import ServerState

from finpay.edge import malformed_request, routes
from finpay.edge.malformed_request import MAX_HEADERS_BYTES
from finpay.edge.request.model import Headers, Request, RequestHandler
from finpay.telemetry import logs

# No path or query of ours is nearly as long, so what is cut off changes no answer.
MAX_TARGET_BYTES: Final = 32 * 1024
MAX_WAITING: Final = 8  # requests sent ahead on one connection; the rest stays in the socket
REQUEST_S: Final = 15.0  # for all of a request: 64 KiB at 4 KiB/s; slower is no client of ours
LOOK_EVERY_S: Final = 5.0  # how late that may be: one timer per connection, none per request
MIN_TAKEN_BYTES: Final = 8 * 1024  # of an answer between two looks; slower is no client of ours
FIRST_REQUEST_S: Final = 1.0  # from a connection to its request; only a stopping server counts it

_LOG: Final = logs.get()


class Protocol(asyncio.Protocol):
    """One connection. Answers come in the order of the requests, one at a time."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        del app_state  # ours are in the application
        if not config.loaded:
            config.load()
        self._application: RequestHandler = cast("RequestHandler", config.loaded_app)
        self._keep_alive_s = config.timeout_keep_alive
        self._server = server_state
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        # A client may send more after its last request; it is not read.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._waiting: deque[Request] = deque()
        self._answering = False
        self._last = False  # nothing more is read
        self._stopping = False  # nothing more is waited for
        self._unreadable = False
        self._asked = False  # anything at all
        self._taken: asyncio.Future[None] | None = None
        self._unsent_bytes = 0  # at the last look
        self._since = self._loop.time()  # of the request that is read, or else of the last answer
        self._reading = False
        self._begin_message()

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer: str = peer[0] if peer else "unknown"
        self._server.connections.add(cast("Any", self))
        self._watch = self._loop.call_later(LOOK_EVERY_S, self._look)

    def connection_lost(self, _: Exception | None) -> None:
        """Whatever is being done for this client is done all the same; a retry tells it."""
        self._server.connections.discard(cast("Any", self))
        self._waiting.clear()
        self._watch.cancel()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client takes its answers more slowly than we give them: the next one waits."""
        self._taken = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)
        self._taken = None

    def shutdown(self) -> None:
        """The server stops. Who came or asked in the last moment is answered before the end."""
        if self._answering:
            self._stopping = True
        elif self._asked and not self._reading and not self._has_unread():
            self._transport.close()
        else:
            self._loop.call_later(FIRST_REQUEST_S, self._stop)

    def _stop(self) -> None:
        self._stopping = True
        if not self._answering and not (self._reading and self._head_read):
            self._transport.close()

    def _has_unread(self) -> bool:
        """Whether the client has sent what this process was too busy to read."""
        line = self._transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(line.fileno())) as peeking:
            try:
                return bool(peeking.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
            except OSError:
                return False

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        if not (self._reading or self._answering or self._stopping or self._taken is not None):
            refusal = self._application.refuse_unread(data)
            if refusal is not None:
                self._asked = True
                self._since = self._loop.time()
                self._transport.write(refusal)
                return
        target_bytes = self._target_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # HTTP/1.1 is all we speak; the request itself was read
        except httptools.HttpParserError:
            self._refuse()
            return
        if self._reading and not self._head_read and self._target_bytes == target_bytes:
            self._head_bytes += len(data)  # the parser keeps the field that it is in, however long
            if self._head_bytes > MAX_HEADERS_BYTES + MAX_TARGET_BYTES:
                self._refuse()

    def _look(self) -> None:
        """Lets go of clients that are too slow, or gone without a word."""
        self._watch = self._loop.call_later(LOOK_EVERY_S, self._look)
        unsent_bytes = self._transport.get_write_buffer_size()
        waited_s = self._loop.time() - self._since
        if unsent_bytes and 0 < self._unsent_bytes < unsent_bytes + MIN_TAKEN_BYTES:
            self._transport.abort()
        elif self._answering:
            pass  # what is done for it has deadlines of its own
        elif self._reading and waited_s > REQUEST_S:
            if self._head_read:
                self._hand_on(late=True)
            else:
                self._refuse()
        elif not self._reading and waited_s > (self._keep_alive_s if self._asked else REQUEST_S):
            self._transport.close()
        self._unsent_bytes = unsent_bytes

    # The parser's words

    def _begin_message(self) -> None:
        self._url = b""
        self._headers: Headers = {}
        self._target_bytes = self._head_bytes = self._headers_bytes = 0
        self._head_read = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._request: Request | None = None

    def on_message_begin(self) -> None:
        self._begin_message()
        self._reading = True
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._target_bytes += len(url)
        self._url += url[: MAX_TARGET_BYTES - len(self._url)]

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_bytes += len(name) + len(value)
        if self._headers_bytes > MAX_HEADERS_BYTES:
            raise ValueError("too long")  # which the parser's caller takes for unreadable
        name = name.lower()
        headers = self._headers
        # A repeated field is one list (RFC 9110 §5.2).
        headers[name] = headers[name] + b", " + value if name in headers else value

    def on_headers_complete(self) -> None:
        self._head_read = True
        parser = self._parser
        path, query = _target(self._url)
        method = parser.get_method().decode("ascii")
        self._request = Request(method, path, query, self._headers, self._peer)
        self._request.keep_alive = (
            parser.should_keep_alive()
            and parser.get_http_version() != "1.0"
            and not parser.should_upgrade()
        )
        announced = self._headers.get(b"content-length", b"0")
        if announced == b"0" and b"transfer-encoding" not in self._headers:
            return
        self._body_limit = routes.body_limit(method, path)
        if int(announced) > self._body_limit:
            self._hand_on(oversized=True)
        elif self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._request is None:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._body_limit:
            self._hand_on(oversized=True)

    def on_message_complete(self) -> None:
        if self._request is not None:
            self._request.body = b"".join(self._body)
            self._hand_on()

    # The answers

    def _hand_on(self, *, oversized: bool = False, late: bool = False) -> None:
        """The request is whole, or will never be."""
        request = self._request
        assert request is not None  # noqa: S101  its head was read
        self._request = None
        self._reading = False
        self._asked = True
        if oversized or late:
            request.oversized, request.late = oversized, late
            request.keep_alive = False
        if not request.keep_alive:
            self._last = True
        if self._answering:
            self._waiting.append(request)
            if len(self._waiting) >= MAX_WAITING:
                self._transport.pause_reading()
            return
        refusal = None if self._taken is not None else self._application.refuse(request)
        if refusal is None:
            self._answering = True
            task = self._loop.create_task(self._answer(request, let_in=self._taken is None))
            self._server.tasks.add(task)
            task.add_done_callback(self._server.tasks.discard)
            return
        self._since = self._loop.time()
        self._transport.write(refusal)
        if self._stopping or not request.keep_alive:
            self._transport.close()

    async def _answer(self, request: Request, *, let_in: bool) -> None:
        """The request, and whoever waits behind it on this line."""
        while True:
            if self._taken is not None:
                await self._taken
            refusal = None if let_in else self._application.refuse(request)
            answer = refusal or await self._application.respond(request)
            self._server.total_requests += 1
            if self._transport.is_closing():
                break
            self._transport.write(answer)
            if not request.keep_alive:
                self._transport.close()
                break
            self._transport.resume_reading()
            if not self._waiting:
                break
            request, let_in = self._waiting.popleft(), False
        self._answering = False
        if not self._reading:
            self._since = self._loop.time()
        if self._unreadable:
            self._say_unreadable()
        elif self._last or (self._stopping and not self._reading):
            self._transport.close()

    def _refuse(self) -> None:
        """Nothing on this line can be trusted any more. Those before it get their answers first."""
        self._last = self._unreadable = True
        self._reading = False
        _LOG.warning("unreadable_request")
        if not self._answering:
            self._say_unreadable()

    def _say_unreadable(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(malformed_request.answer())
        self._transport.close()


def _target(url: bytes) -> tuple[str, bytes]:
    """Path, decoded, and query, as sent. Raises what the parser takes for unreadable."""
    if url.startswith(b"/") and b"#" not in url:
        raw_path, _, query = url.partition(b"?")
    else:
        parsed = httptools.parse_url(url)
        raw_path, query = parsed.path or b"/", parsed.query or b""
    path = raw_path.decode("ascii")
    return (unquote(path) if "%" in path else path), query
