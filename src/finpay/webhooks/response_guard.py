"""Bounds what a receiver can send, before aiohttp parses it.

Without it a receiver could send `100 Continue` without end: aiohttp parses each one and stops at
no number of them. And a body that is malformed in the same segment as its head would hide the
status (aiohttp reports the error alone), although a 2xx status is a success whatever follows it.
"""

import asyncio
import re
from typing import Final

from aiohttp import ClientRequest, ClientResponse
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError

MAX_RESPONSE_BYTES: Final = 65_536  # head and body as they come over the network
MAX_HEADS: Final = 8  # of interim responses and the final one, that are parsed one by one

_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")


class GuardedRequest(ClientRequest):
    """A request whose response goes through a ResponseGuard."""

    async def send(self, conn: Connection) -> ClientResponse:
        transport, protocol = conn.transport, conn.protocol
        if transport is not None and protocol is not None:
            guard = ResponseGuard(transport, protocol)
            transport.set_protocol(guard)
            conn.add_callback(guard.release)
        return await super().send(conn)


class ResponseGuard(asyncio.Protocol):
    """The transport's protocol during one exchange, in front of aiohttp's."""

    def __init__(self, transport: asyncio.Transport, inner: ResponseHandler) -> None:
        self._transport = transport
        self._inner = inner
        self._free_bytes = MAX_RESPONSE_BYTES
        self._free_heads = MAX_HEADS
        self._released = False

    def release(self) -> None:
        """The exchange is over: data that comes now answers no request."""
        self._released = True
        self._free_bytes = 0

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def eof_received(self) -> None:
        self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        accepted, self._free_bytes = data[: self._free_bytes], self._free_bytes - len(data)
        while self._free_heads and (end := _END_OF_HEAD.search(accepted)) is not None:
            self._free_heads -= 1
            self._inner.data_received(accepted[: end.end()])
            accepted = accepted[end.end() :]
        if accepted:
            self._inner.data_received(accepted)
        if self._free_bytes < 0:
            self._inner.set_exception(HttpProcessingError(message="the response is too long"))
            self._transport.abort()
        elif self._released and len(self._inner):  # a second response behind the first
            self._transport.abort()
