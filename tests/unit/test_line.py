"""Words from Redis that are no answer: the line is given up, and nobody waits on it for ever."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from finpay.gate.line import Line, LineLost


class _Transport:
    """Takes what is written, and knows whether it was cut."""

    def __init__(self) -> None:
        self.aborted = False

    def set_protocol(self, _: Any) -> None: ...

    def write(self, _: bytes) -> None: ...

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(
    "words",
    [b"*1\r\n:1\r\n", b"*3\r\n:1\r\n:1\r\n:1\r\n", b"$-1\r\n", b":1\r\n", b"+OK\r\n", b"?\r\n"],
    ids=["too few", "too many", "null", "a number", "a status", "no reply"],
)
async def test_an_answer_to_a_crowd_that_is_none(words: bytes) -> None:
    transport = _Transport()
    connection: Any = SimpleNamespace(_writer=SimpleNamespace(transport=transport), _reader=None)
    line = Line(connection)
    first, second = line.call("sha", ["key"], ["arg"]), line.call("sha", ["key"], ["arg"])
    behind = line.ask(b"PING")
    await asyncio.sleep(0)
    line.data_received(b"+PONG\r\n" + words)
    assert transport.aborted
    assert await behind == b"PONG"
    for lost in (first, second):
        with pytest.raises(LineLost):
            await lost
    with pytest.raises(LineLost):
        line.ask(b"PING")
