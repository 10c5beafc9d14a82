"""uvicorn's HTTP/1.1 protocol, hardened. Each override says what the base class does without it."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from finpay.edge.buffered_transport import BufferedTransport
from finpay.edge.connection_limit import close_surplus
from finpay.edge.http_parser import RequestParser, check_head, malformed_request
from finpay.edge.load_shedding import refuse
from finpay.edge.request_size import RequestSize
from finpay.edge.slow_clients import SlowClientTimer
from finpay.edge.whole_response import offer
from finpay.telemetry import logs

MAX_PIPELINED: Final = 64  # unanswered requests of one connection; the base class has no bound


class HttpProtocol(HttpToolsProtocol):
    """One connection. Instantiated by uvicorn: `Config(http=HttpProtocol)`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser: Any = RequestParser(self)
        self._size = RequestSize()
        self._unanswered = 0  # requests whose head was read
        self._malformed = False
        self._reason: str | None = None  # why a callback ended the parse
        self.since_s = self.loop.time()  # of the head that is read, or else of the last response

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.buffered = BufferedTransport(transport, self.loop, self._expects_input)
        super().connection_made(self.buffered)  # type: ignore[arg-type]
        close_surplus(self.connections)  # type: ignore[arg-type]  # all are of this class
        self._timer = SlowClientTimer(self, self.buffered, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Without its timers: the base class keeps a reset connection until its keep-alive ends."""
        self._timer.cancel()
        self.buffered.on_connection_lost()
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        del self._timer  # it refers to this object: both would wait for the garbage collector

    def eof_received(self) -> bool:  # type: ignore[override]
        """A half-closed client gets its responses: the base class closes without them."""
        if not self._unanswered or self.cycle.more_body:
            return False
        if not self._malformed:  # else the 400 is the last response
            self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self.buffered.is_closing() or refuse(self, data):
            return
        was_in_body = self._size.in_body
        super().data_received(data)
        fault = self._size.fault(len(data), was_in_body=was_in_body)
        if fault is not None:
            self.send_400_response(fault)

    def send_400_response(self, msg: str) -> None:
        """As problem+json, and never before the response of an earlier request."""
        self._size.in_head = False
        if self._malformed or self.transport.is_closing():
            return
        logs.get().warning("malformed_request", reason=self._reason or msg)
        self._malformed = True
        if self._unanswered > 1 and self.cycle.more_body:
            self.pipeline.popleft()  # its body is what is malformed, and it was not started yet
            self._unanswered -= 1
        elif self._unanswered == 0 or self.cycle.more_body:
            self._end_with_400()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size.begin()
        self.since_s = self.loop.time()

    def on_headers_complete(self) -> None:
        """Checks the head, and drops trailers: the base class adds them to its headers."""
        self._size.in_head = False
        try:
            check_head(self.parser.get_http_version(), self.url, self.headers)
            if self._unanswered >= MAX_PIPELINED:
                raise ValueError(f"more than {MAX_PIPELINED} requests wait on one connection")
            super().on_headers_complete()  # raises for a target that is no URL
        except ValueError as error:
            self._reason = str(error)  # httptools hides it
            raise
        offer(self, self.cycle, self.scope)  # type: ignore[arg-type]  # a TypedDict
        self._unanswered += 1
        self.headers = []
        self._size.begin_body()

    def on_body(self, body: bytes) -> None:
        self._size.add_body(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Not at the head of a request with Upgrade: its body follows, see RequestParser."""
        if not self.parser.is_upgrade:
            self._size.in_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answers malformed bytes after the requests before them: the base class reads on."""
        self._unanswered -= 1
        self.since_s = self.loop.time()
        self.buffered.flush()
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
    def is_receiving(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return self._size.in_head or cycle is None or bool(cycle.more_body)

    def end_slow_request(self) -> None:
        """With 400 if a response is due."""
        if self._size.in_head or self._unanswered:
            self.send_400_response("the request did not arrive in time")
        else:  # nothing was sent, or the rest of a body whose response was sent
            self.transport.close()
