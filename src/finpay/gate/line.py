"""One connection to Redis: commands go out together, answers come back in their order.

redis-py opens it, with its TLS, login and URLs, and hands over the open transport; from then on
bytes go straight between the transport and hiredis. Its own reader and pipeline cost twice the CPU
for the same bytes, see docs/performance.md.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias, cast

import hiredis
from redis.asyncio.connection import AbstractConnection

from finpay import metrics

MAX_WAITING: Final = 20_000  # the server's connections are the real bound; this one is the last
# Of one call to a script: Redis answers nobody else meanwhile, for half a millisecond.
MAX_CROWD: Final = 50
MAX_KEYS: Final = 300  # unless one call alone has more, as that of a bulk

_INCOMPLETE: Final = object()

Words: TypeAlias = Sequence[str | bytes | int]
_Answer: TypeAlias = "asyncio.Future[Any]"
_Call: TypeAlias = tuple[Words, Words, _Answer]


class LineLost(Exception):
    """The connection is gone, or full. Whether what was asked had an effect is unknown."""


class Line(asyncio.Protocol):
    """While answers are under way, the next commands gather; then they leave in one write.

    Calls of one script gather in one call of it, see crowd.lua: most of a call's price, here and
    in Redis, is not in what it does. `lost` ends when the connection does.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._commands: list[tuple[bytes, _Answer]] = []
        self._calls: dict[str, list[_Call]] = {}  # by the script's sha
        self._waiting = 0
        self._asked: deque[_Answer | list[_Answer]] = deque()
        self._asked_at_s = 0.0
        self._leaving = False
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._writer = _taken_from(connection)  # kept: collected, it would hang up
        self._transport = cast("asyncio.Transport", self._writer.transport)
        self._transport.set_protocol(self)

    def ask(self, packed: bytes) -> asyncio.Future[Any]:
        """The answer to come: bytes, a number, a list, or hiredis.ReplyError. LineLost if not."""
        answer = self._expect()
        self._commands.append((packed, answer))
        return answer

    def call(self, sha: str, keys: Words, args: Words) -> asyncio.Future[Any]:
        """The answer to come of a script that serves crowds, as of `ask`."""
        answer = self._expect()
        self._calls.setdefault(sha, []).append((keys, args, answer))
        return answer

    @property
    def waits_since_s(self) -> float | None:
        """The loop's time when the commands left that are not answered yet; None without any."""
        return self._asked_at_s if self._asked else None

    def hang_up(self) -> None:
        """Ends the connection now, answers or not."""
        self._transport.abort()
        self.connection_lost(None)

    def _expect(self) -> _Answer:
        if self.lost.done() or self._waiting >= MAX_WAITING:
            raise LineLost
        self._waiting += 1
        if not self._asked and not self._leaving:
            self._leaving = True
            # In the next turn of the loop: whatever this turn still brings comes along.
            self._loop.call_soon(self._leave)
        return self._loop.create_future()

    def _leave(self) -> None:
        self._leaving = False
        if self.lost.done():
            return
        # Who was cancelled while gathering has not asked anything.
        packed = [self._board(each, answer) for each, answer in self._commands if not answer.done()]
        for sha, calls in self._calls.items():
            waiting = [call for call in calls if not call[2].done()]
            packed += [self._board_crowd(sha, crowd) for crowd in _crowds(waiting)]
        self._commands.clear()
        self._calls.clear()
        self._waiting = 0
        if not packed:
            return
        self._asked_at_s = self._loop.time()
        metrics.PIPELINE_SIZE.observe(
            sum(len(each) if isinstance(each, list) else 1 for each in self._asked)
        )
        self._transport.write(b"".join(packed))

    def _board(self, packed: bytes, answer: _Answer) -> bytes:
        self._asked.append(answer)
        return packed

    def _board_crowd(self, sha: str, calls: Sequence[_Call]) -> bytes:
        names: list[str | bytes | int] = []
        words: list[str | bytes | int] = []
        for keys, args, _ in calls:
            names += keys
            words += (len(keys), len(args), *args)
        self._asked.append([answer for _, _, answer in calls])
        return pack("EVALSHA", sha, len(names), *names, *words)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            self._read()
        except (hiredis.ProtocolError, IndexError, ValueError):  # words that nobody asked for
            self.hang_up()
            return
        if not self._asked and self._waiting and not self._leaving:
            self._leaving = True
            self._loop.call_soon(self._leave)

    def _read(self) -> None:
        while True:
            told = self._reader.gets()
            if told is _INCOMPLETE:
                return
            asker = self._asked[0]  # and stays, until it is clear that this is an answer to it
            if not isinstance(asker, list):
                _tell(asker, told)
            elif isinstance(told, hiredis.ReplyError):  # the script is not known, or can't be run
                for each in asker:
                    _tell(each, told)
            elif isinstance(told, list) and len(told) == len(asker):
                for each, reply in zip(asker, told, strict=True):
                    _tell(each, reply)
            else:
                raise ValueError(f"one answer to {len(asker)} calls")
            self._asked.popleft()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        askers = [answer for _, answer in self._commands]
        askers += [answer for calls in self._calls.values() for _, _, answer in calls]
        for asked in self._asked:
            askers += asked if isinstance(asked, list) else [asked]
        self._asked.clear()
        self._commands.clear()
        self._calls.clear()
        for asker in askers:
            if not asker.done():
                lost = LineLost()
                lost.__cause__ = exc
                asker.set_exception(lost)


def pack(*words: str | bytes | int) -> bytes:
    """A command as Redis reads it."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # it knows tuples of one
    return packed


def _crowds(calls: Sequence[_Call]) -> Iterator[Sequence[_Call]]:
    crowd: list[_Call] = []
    keys = 0
    for call in calls:
        if crowd and (len(crowd) >= MAX_CROWD or keys + len(call[0]) > MAX_KEYS):
            yield crowd
            crowd, keys = [], 0
        crowd.append(call)
        keys += len(call[0])
    if crowd:
        yield crowd


def _tell(asker: _Answer, answer: Any) -> None:
    if not asker.done():
        asker.set_result(answer)


def _taken_from(connection: AbstractConnection) -> asyncio.StreamWriter:
    """The open end of a connection, which is left as if it had never been opened."""
    writer = connection._writer  # noqa: SLF001  there is no public way to it
    if writer is None:
        raise LineLost
    connection._writer = connection._reader = None  # noqa: SLF001
    return writer
