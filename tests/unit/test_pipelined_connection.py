"""What leaves when, and words from Redis that are no answer: nobody waits on a line for ever."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from finpay.gate.pipelined_connection import MAX_CALLS_PER_EVAL, ConnectionLost, PipelinedConnection


class _Transport:
    """Takes what is written, and knows whether it was cut."""

    def __init__(self) -> None:
        self.aborted = False
        self.written: list[bytes] = []

    def set_protocol(self, _: Any) -> None: ...

    def write(self, words: bytes) -> None:
        self.written.append(words)

    def abort(self) -> None:
        self.aborted = True


def _line(transport: _Transport) -> PipelinedConnection:
    connection: Any = SimpleNamespace(_writer=SimpleNamespace(transport=transport), _reader=None)
    return PipelinedConnection(connection)


async def test_a_full_crowd_leaves_at_once_and_what_is_less_when_all_are_answered() -> None:
    transport = _Transport()
    line = _line(transport)
    alone = line.call("sha", ["key"], [0])
    assert transport.written == [], "it waits for what this turn of the loop still brings"
    await asyncio.sleep(0)
    assert len(transport.written) == 1
    crowd = [line.call("sha", ["key"], [number]) for number in range(MAX_CALLS_PER_EVAL - 1)]
    await asyncio.sleep(0)
    assert len(transport.written) == 1, "while an answer is under way the next gather"
    crowd.append(line.call("sha", ["key"], ["last"]))
    assert len(transport.written) == 2, "the last of a crowd waits for nothing"
    assert transport.written[1].count(b"EVALSHA") == 1
    late = line.call("sha", ["key"], ["late"])
    line.data_received(b"*1\r\n:7\r\n")
    await asyncio.sleep(0)
    assert len(transport.written) == 2, "of two crowds one is under way still"
    line.data_received(
        b"*%d\r\n" % MAX_CALLS_PER_EVAL
        + b"".join(b":%d\r\n" % n for n in range(MAX_CALLS_PER_EVAL))
    )
    await asyncio.sleep(0)
    assert len(transport.written) == 3
    line.data_received(b"*1\r\n:8\r\n")
    assert [await alone, *(await asyncio.gather(*crowd)), await late] == [
        7,
        *range(MAX_CALLS_PER_EVAL),
        8,
    ]


async def test_the_oldest_question_tells_how_long_redis_has_been_silent() -> None:
    """Whoever asks after it, in another crowd, must not make it look younger."""
    transport = _Transport()
    line = _line(transport)
    assert line.waits_since_s is None
    line.ask(b"PING")
    assert line.waits_since_s is not None, "it is about to leave, and must be watched"
    await asyncio.sleep(0.01)
    asked_s = line.waits_since_s
    assert asked_s is not None
    for _ in range(MAX_CALLS_PER_EVAL):
        line.ask(b"PING")
    assert len(transport.written) == 2
    assert line.waits_since_s == asked_s
    line.data_received(b"+PONG\r\n")
    later_s = line.waits_since_s
    assert later_s is not None
    assert later_s > asked_s
    line.data_received(b"+PONG\r\n" * MAX_CALLS_PER_EVAL)
    assert line.waits_since_s is None
    gathering = line.ask(b"PING")
    line.connection_lost(None)
    assert line.waits_since_s is None, "nobody waits on a line that is lost"
    with pytest.raises(ConnectionLost):
        await gathering


@pytest.mark.parametrize(
    "words",
    [b"*1\r\n:1\r\n", b"*3\r\n:1\r\n:1\r\n:1\r\n", b"$-1\r\n", b":1\r\n", b"+OK\r\n", b"?\r\n"],
    ids=["too few", "too many", "null", "a number", "a status", "no reply"],
)
async def test_an_answer_to_a_crowd_that_is_none(words: bytes) -> None:
    transport = _Transport()
    line = _line(transport)
    first, second = line.call("sha", ["key"], ["arg"]), line.call("sha", ["key"], ["arg"])
    behind = line.ask(b"PING")
    await asyncio.sleep(0)
    line.data_received(b"+PONG\r\n" + words)
    assert transport.aborted
    assert await behind == b"PONG"
    for lost in (first, second):
        with pytest.raises(ConnectionLost):
            await lost
    with pytest.raises(ConnectionLost):
        line.ask(b"PING")
