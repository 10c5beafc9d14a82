"""uvicorn's HTTP/1.1 protocol, hardened. Each override says what the base class does without it."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from finpay.edge.buffered_transport import BufferedTransport
from finpay.edge.connection_limit import close_surplus
from finpay.edge.http_parser import (
    MAX_HEAD_BYTES,
    RequestParser,
    check_head,
    malformed_request,
)
from finpay.telemetry import logs

REQUEST_TIMEOUT_S: Final = 15.0  # from the first byte to the last: 64 KiB at 4 KiB/s (slowloris)
CHECK_TIMEOUTS_S: Final = 5.0  # one timer per connection instead of one per request
MIN_DRAINED_BYTES: Final = 8 * 1024  # of a response between two checks (slow readers)
MAX_FRAMING_BYTES: Final = 512 * 1024  # sizes and extensions of chunks, and trailers …
FRAMING_PER_BODY_BYTE: Final = 8  # … in addition to those of a body in chunks of one byte
MAX_PIPELINED: Final = 64  # unanswered requests of one connection; the base class has no bound


class HttpProtocol(HttpToolsProtocol):
    """One connection. Instantiated by uvicorn: `Config(http=HttpProtocol)`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser: Any = RequestParser(self)
        self._in_head = False
        self._head_bytes = 0
        self._in_body = False
        self._body_bytes = 0
        self._received_bytes = 0  # behind the head
        self._unanswered = 0  # requests whose head was read
        self._malformed = False
        self.since_s = self.loop.time()  # of the head that is read, or else of the last response
        self._sent_bytes: int | None = None  # at the last check, if any were unsent then

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._buffered = BufferedTransport(transport, self.loop, self._expects_input)
        super().connection_made(self._buffered)  # type: ignore[arg-type]
        close_surplus(self.connections)  # type: ignore[arg-type]  # all are of this class
        self._timer = self.loop.call_later(CHECK_TIMEOUTS_S, self._check_timeouts)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._buffered.on_connection_lost()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A half-closed client gets its responses: the base class closes without them."""
        if not self._unanswered or self.cycle.more_body:
            return False
        if not self._malformed:  # else the 400 is the last response
            self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Bounds an unfinished head, and what frames a body: the parser keeps fields and trailers
        however long they are."""
        if self._buffered.is_closing():
            return
        was_in_body = self._in_body
        super().data_received(data)
        if was_in_body and self._in_body:
            self._received_bytes += len(data)
            framing = self._received_bytes - FRAMING_PER_BODY_BYTE * self._body_bytes
            if framing > MAX_FRAMING_BYTES:
                self.send_400_response("the chunks or trailers of the body are too long")
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("the head is too long")

    def send_400_response(self, msg: str) -> None:
        """As problem+json, and never before the response of an earlier request."""
        self._in_head = False
        if self._malformed or self.transport.is_closing():
            return
        logs.get().warning("malformed_request", reason=msg)
        self._malformed = True
        if self._unanswered > 1 and self.cycle.more_body:
            self.pipeline.popleft()  # its body is what is malformed, and it was not started yet
            self._unanswered -= 1
        elif self._unanswered == 0 or self.cycle.more_body:
            self._end_with_400()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self.since_s = self.loop.time()

    def on_headers_complete(self) -> None:
        """Checks the head, and drops trailers: the base class adds them to its headers."""
        self._in_head = False
        check_head(self.parser.get_http_version(), self.url, self.headers)
        if self._unanswered >= MAX_PIPELINED:
            raise ValueError("too many requests are pipelined")
        super().on_headers_complete()  # raises for a target that is no URL
        self._unanswered += 1
        self.headers = []
        self._in_body = True
        self._body_bytes = self._received_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Not at the head of a request with Upgrade: its body follows, see RequestParser."""
        if not self.parser.is_upgrade:
            self._in_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answers malformed bytes after the requests before them: the base class reads on."""
        self._unanswered -= 1
        self.since_s = self.loop.time()
        self._buffered.flush()
        super().on_response_complete()
        if self._malformed and not self._unanswered and not self.transport.is_closing():
            self._end_with_400()

    def _end_with_400(self) -> None:
        self.transport.write(malformed_request())
        self.transport.close()

    def _expects_input(self) -> bool:
        """Whether the client may still send what is not read after the last response."""
        cycle: Any = self.cycle
        return self._malformed or (cycle is not None and bool(cycle.more_body))

    @property
    def is_waiting(self) -> bool:
        """For the client: for a request, or the rest of one."""
        return not self._unanswered or bool(self.cycle.more_body and self._unanswered == 1)

    def abort(self) -> None:
        self.transport.abort()

    @property
    def _is_receiving(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return self._in_head or cycle is None or bool(cycle.more_body)

    def _check_timeouts(self) -> None:
        """Closes connections whose client sends a request or reads a response too slowly."""
        self._timer = self.loop.call_later(CHECK_TIMEOUTS_S, self._check_timeouts)
        unsent_bytes, before = self.transport.get_write_buffer_size(), self._sent_bytes
        sent_bytes = self._buffered.flushed_bytes - unsent_bytes
        if unsent_bytes and before is not None and sent_bytes < before + MIN_DRAINED_BYTES:
            self.transport.abort()
        elif self._is_receiving and self.loop.time() - self.since_s > REQUEST_TIMEOUT_S:
            if self._in_head or self._unanswered:
                self.send_400_response("the request did not arrive in time")
            else:  # nothing was sent, or the rest of a body whose response was sent
                self.transport.close()
        self._sent_bytes = sent_bytes if unsent_bytes else None
