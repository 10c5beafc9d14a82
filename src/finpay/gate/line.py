"""One connection to Redis: commands go out together, answers come back in their order.

redis-py opens it, with its TLS, login and URLs, and hands over the open transport; from then on
bytes go straight between the transport and hiredis. Its own reader and pipeline cost twice the CPU
for the same bytes, see docs/performance.md.
"""

import asyncio
from collections import deque
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import AbstractConnection

from finpay import metrics

MAX_WAITING: Final = 20_000  # the server's connections are the real bound; this one is the last

_INCOMPLETE: Final = object()


class LineLost(Exception):
    """The connection is gone, or full. Whether what was asked had an effect is unknown."""


class Line(asyncio.Protocol):
    """While answers are under way, the next commands gather; then they leave in one write.

    `lost` ends when the connection does.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._gathering: list[tuple[bytes, asyncio.Future[Any]]] = []
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._asked_at_s = 0.0
        self._leaving = False
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._writer = _taken_from(connection)  # kept: collected, it would hang up
        self._transport = cast("asyncio.Transport", self._writer.transport)
        self._transport.set_protocol(self)

    def ask(self, packed: bytes) -> asyncio.Future[Any]:
        """The answer to come: bytes, a number, a list, or hiredis.ReplyError. LineLost if not."""
        if self.lost.done() or len(self._gathering) >= MAX_WAITING:
            raise LineLost
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._gathering.append((packed, answer))
        if not self._asked and not self._leaving:
            self._leaving = True
            # In the next turn of the loop: whatever this turn still brings comes along.
            self._loop.call_soon(self._leave)
        return answer

    @property
    def waits_since_s(self) -> float | None:
        """The loop's time when the commands left that are not answered yet; None without any."""
        return self._asked_at_s if self._asked else None

    def hang_up(self) -> None:
        """Ends the connection now, answers or not."""
        self._transport.abort()
        self.connection_lost(None)

    def _leave(self) -> None:
        self._leaving = False
        if self.lost.done():
            return
        # Who was cancelled while gathering has not asked anything.
        leaving = [(packed, answer) for packed, answer in self._gathering if not answer.done()]
        self._gathering.clear()
        if not leaving:
            return
        self._asked.extend(answer for _, answer in leaving)
        self._asked_at_s = self._loop.time()
        metrics.PIPELINE_SIZE.observe(len(leaving))
        self._transport.write(b"".join([packed for packed, _ in leaving]))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            self._read()
        except (hiredis.ProtocolError, IndexError):  # words that nobody asked for
            self.hang_up()
            return
        if not self._asked and self._gathering and not self._leaving:
            self._leaving = True
            self._loop.call_soon(self._leave)

    def _read(self) -> None:
        while True:
            answer = self._reader.gets()
            if answer is _INCOMPLETE:
                return
            asker = self._asked.popleft()
            if not asker.done():
                asker.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        askers = [*self._asked, *(answer for _, answer in self._gathering)]
        self._asked.clear()
        self._gathering.clear()
        for asker in askers:
            if not asker.done():
                lost = LineLost()
                lost.__cause__ = exc
                asker.set_exception(lost)


def _taken_from(connection: AbstractConnection) -> asyncio.StreamWriter:
    """The open end of a connection, which is left as if it had never been opened."""
    writer = connection._writer  # noqa: SLF001  there is no public way to it
    if writer is None:
        raise LineLost
    connection._writer = connection._reader = None  # noqa: SLF001
    return writer
