"""A transport that joins the head of a response with its body, and closes without a reset."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

_FINAL_HEAD: Final = tuple(b"HTTP/1.1 %d" % kind for kind in range(2, 6))  # not 100 Continue
LINGER_S: Final = 2.0  # for what the client still sends to arrive, and its own end


class BufferedTransport:
    """Head and body of a response leave together: two system calls cost 7 µs more than one.

    The part of asyncio.Transport that uvicorn's protocol uses. A head waits for the next write, or
    for `flush`; `flushed_bytes` counts what was passed on, the bytes in the write buffer included.
    While `expects_input`, `close` ends only our direction, and for LINGER_S the protocol drops what
    arrives: a socket closed with unread bytes is reset, and the reset discards the response.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        expects_input: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._expects_input = expects_input
        self._head = b""  # not sent yet
        self._linger: asyncio.TimerHandle | None = None
        self.flushed_bytes = 0
        self.get_extra_info = transport.get_extra_info
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(_FINAL_HEAD):
            self._head = data
        else:
            self.send(self._head + data)

    def send(self, data: bytes) -> None:
        """At once. A head that waits is part of `data`."""
        self._head = b""
        self.flushed_bytes += len(data)
        self._transport.write(data)

    def flush(self) -> None:
        if self._head:
            self.send(self._head)

    def is_closing(self) -> bool:
        return self._linger is not None or self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        if self.is_closing():
            return
        if not self._expects_input() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._linger = self._loop.call_later(LINGER_S, self._transport.close)
        self._transport.write_eof()
        self._transport.resume_reading()

    def abort(self) -> None:
        self._head = b""
        self._transport.abort()

    def on_connection_lost(self) -> None:
        self._expects_input = bool  # False: what was given refers to the protocol
        if self._linger is not None:
            self._linger.cancel()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
