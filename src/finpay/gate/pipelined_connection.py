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

from finpay.telemetry import metrics

MAX_CALLS_PER_EVAL: Final = 12  # so many don't wait for more: Redis serves them while we read on
MAX_KEYS: Final = 300  # of one call to a script, unless one caller alone has more, as a bulk

_INCOMPLETE: Final = object()

Words: TypeAlias = Sequence[str | bytes | int]
_Answer: TypeAlias = "asyncio.Future[Any]"
_Call: TypeAlias = tuple[Words, Words, _Answer]
_Asker: TypeAlias = "_Answer | list[_Answer]"  # one command, or the calls that are one command


class ConnectionLost(Exception):
    """The connection is gone. Whether what was asked had an effect is unknown."""


class PipelinedConnection(asyncio.Protocol):
    """While answers are under way the next commands gather, up to MAX_CALLS_PER_EVAL, for one write.

    Calls of one script share one EVALSHA, see multi_call.lua: most of a call's cost, here and in
    Redis, does not depend on what it does. `lost` ends when the connection does.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._commands: list[tuple[bytes, _Answer]] = []
        self._calls: dict[str, list[_Call]] = {}  # by the script's sha
        self._waiting = 0
        self._asked: deque[tuple[_Asker, float]] = deque()  # and when: the loop's time
        self._leaving = False
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._writer = _taken_from(connection)  # kept: collected, it would hang up
        self._transport = cast("asyncio.Transport", self._writer.transport)
        self._transport.set_protocol(self)

    def ask(self, packed: bytes) -> asyncio.Future[Any]:
        """The answer to come: bytes, a number, a list, or hiredis.ReplyError. ConnectionLost if not."""
        answer = self._expect()
        self._commands.append((packed, answer))
        self._gather()
        return answer

    def call(self, sha: str, keys: Words, args: Words) -> asyncio.Future[Any]:
        """The answer to come of a script that serves crowds, as of `ask`."""
        answer = self._expect()
        self._calls.setdefault(sha, []).append((keys, args, answer))
        self._gather()
        return answer

    @property
    def waits_since_s(self) -> float | None:
        """The loop's time when the oldest unanswered command left, now if one is about to leave;
        None without any."""
        if self._asked:
            return self._asked[0][1]
        return self._loop.time() if self._waiting else None

    def hang_up(self) -> None:
        """Ends the connection now, answers or not."""
        self._transport.abort()
        self.connection_lost(None)

    def _expect(self) -> _Answer:
        if self.lost.done():
            raise ConnectionLost
        return self._loop.create_future()

    def _gather(self) -> None:
        self._waiting += 1
        if self._waiting >= MAX_CALLS_PER_EVAL:
            self._leave()
        else:
            self._leave_soon()

    def _leave_soon(self) -> None:
        if not self._asked and not self._leaving:
            self._leaving = True
            # In the next turn of the loop: whatever this turn still brings comes along.
            self._loop.call_soon(self._leave_in_turn)

    def _leave_in_turn(self) -> None:
        self._leaving = False
        if not self.lost.done():
            self._leave()

    def _leave(self) -> None:
        commands, self._commands = self._commands, []
        scripts, self._calls = self._calls, {}
        self._waiting = 0
        # Who was cancelled while gathering has not asked anything.
        boarded: list[_Asker] = []
        packed: list[bytes] = []
        for command, answer in commands:
            if not answer.done():
                boarded.append(answer)
                packed.append(command)
        for sha, calls in scripts.items():
            for crowd in _crowds([call for call in calls if not call[2].done()]):
                boarded.append([answer for _, _, answer in crowd])
                packed.append(_together(sha, crowd))
        if not packed:
            return
        now_s = self._loop.time()
        self._asked.extend((asker, now_s) for asker in boarded)
        metrics.PIPELINE_SIZE.observe(
            sum(len(asker) if isinstance(asker, list) else 1 for asker in boarded)
        )
        self._transport.write(b"".join(packed))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            self._read()
        except (hiredis.ProtocolError, IndexError, ValueError):  # words that nobody asked for
            self.hang_up()
            return
        if self._waiting:
            self._leave_soon()

    def _read(self) -> None:
        while True:
            told = self._reader.gets()
            if told is _INCOMPLETE:
                return
            asker, _ = self._asked[0]  # and stays, until it is clear that this is an answer to it
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
        for asked, _ in self._asked:
            askers += asked if isinstance(asked, list) else [asked]
        self._asked.clear()
        self._commands.clear()
        self._calls.clear()
        self._waiting = 0
        for asker in askers:
            if not asker.done():
                lost = ConnectionLost()
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
        if crowd and keys + len(call[0]) > MAX_KEYS:
            yield crowd
            crowd, keys = [], 0
        crowd.append(call)
        keys += len(call[0])
    if crowd:
        yield crowd


def _together(sha: str, crowd: Sequence[_Call]) -> bytes:
    """The calls as one command, as multi_call.lua reads it."""
    names: list[str | bytes | int] = []
    words: list[str | bytes | int] = []
    for keys, args, _ in crowd:
        names += keys
        words += (len(keys), len(args), *args)
    return pack("EVALSHA", sha, len(names), *names, *words)


def _tell(asker: _Answer, answer: Any) -> None:
    if not asker.done():
        asker.set_result(answer)


def _taken_from(connection: AbstractConnection) -> asyncio.StreamWriter:
    """The open end of a connection, which is left as if it had never been opened."""
    writer = connection._writer  # noqa: SLF001  there is no public way to it
    if writer is None:
        raise ConnectionLost
    connection._writer = connection._reader = None  # noqa: SLF001
    return writer
