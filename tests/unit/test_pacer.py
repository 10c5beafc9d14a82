"""Who comes while others are refused begins in turn, a few in each turn of the loop."""

import asyncio
from types import SimpleNamespace
from typing import Any, Final

import pytest

from finpay import settings
from finpay.edge import pacer
from finpay.edge.pacer import EACH, Pacer
from finpay.edge.pipeline import MAX_UNDER_WAY, Pipeline
from finpay.edge.request.model import Request

GET: Final = b"GET /api/v1/accounts HTTP/1.1\r\nHost: finpay.test\r\n\r\n"
MANY: Final = 100


def opened() -> Pipeline:
    services: Any = SimpleNamespace(
        settings=settings.read({}),
        probe=SimpleNamespace(draining=False),
        identity=SimpleNamespace(signer=SimpleNamespace(verify=None)),
    )
    return Pipeline(services)


def asked() -> Request:
    return Request("GET", "/api/v1/accounts", b"", {}, "127.0.0.1")


def fill(pipeline: Pipeline, many: int) -> None:
    assert all(pipeline.refuse(asked()) is None for _ in range(many))


class Entry:
    """Many who come in one turn of the loop, and how many were through after each."""

    def __init__(self, through: Pacer, many: int) -> None:
        self.order: list[int] = []
        self.tasks = [asyncio.ensure_future(self._come(through, n)) for n in range(many)]

    async def _come(self, through: Pacer, number: int) -> None:
        await through.pass_through()
        self.order.append(number)

    async def watch(self, turns: int) -> list[int]:
        begun = []
        for _ in range(turns):
            before = len(self.order)
            await asyncio.sleep(0)
            begun.append(len(self.order) - before)
        return begun


async def test_all_begin_at_once_where_nobody_is_refused() -> None:
    assert await Entry(Pacer(), MANY).watch(1) == [MANY]


async def test_while_some_are_refused_a_few_begin_in_each_turn() -> None:
    gate = Pacer()
    gate.refused()
    entry = Entry(gate, 2 * EACH + 3)
    begun = [many for many in await entry.watch(12) if many]
    assert begun == [EACH, EACH, 3]
    assert entry.order == sorted(entry.order)


async def test_who_comes_later_waits_behind_the_others() -> None:
    gate = Pacer()
    gate.refused()
    first = Entry(gate, EACH + 1)
    await first.watch(1)
    second = Entry(gate, EACH)
    begun = [many for many in await second.watch(12) if many]
    assert len(first.order) == EACH + 1
    assert begun == [EACH - 1, 1]


async def test_who_gave_up_is_passed_over() -> None:
    gate = Pacer()
    gate.refused()
    entry = Entry(gate, 3)
    await asyncio.sleep(0)
    entry.tasks[1].cancel()
    await entry.watch(4)
    assert entry.order == [0, 2]
    await Entry(gate, 1).watch(4)


async def test_it_is_open_again_when_nobody_was_refused_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacer, "CALM_S", 0.0)
    gate = Pacer()
    gate.refused()
    assert await Entry(gate, MANY).watch(1) == [MANY]


@pytest.mark.parametrize("seen", ["read", "unread"])
async def test_a_refusal_makes_the_others_take_turns(seen: str) -> None:
    pipeline = opened()
    answers: list[bytes] = []

    async def respond() -> None:
        answers.append(await pipeline.respond(asked()))

    async def answered_in_turns() -> list[int]:
        tasks = [asyncio.ensure_future(respond()) for _ in range(MANY)]
        each = []
        while not all(task.done() for task in tasks):
            before = len(answers)
            await asyncio.sleep(0)
            each.append(len(answers) - before)
        return each

    fill(pipeline, MANY)
    assert max(await answered_in_turns()) == MANY, "nobody was refused"
    fill(pipeline, MAX_UNDER_WAY)
    assert (pipeline.refuse(asked()) if seen == "read" else pipeline.refuse_unread(GET)) is not None
    assert max(await answered_in_turns()) == EACH
    assert all(answer.startswith(b"HTTP/1.1 401 ") for answer in answers)


async def test_who_is_free_to_pass_waits_for_nobody() -> None:
    """Health checks and pages are let in without end, so they may not wait either."""
    pipeline = opened()
    fill(pipeline, MAX_UNDER_WAY)
    assert pipeline.refuse_unread(GET) is not None
    waiting = [asyncio.ensure_future(pipeline.respond(asked())) for _ in range(3 * EACH)]
    await asyncio.sleep(0)
    free = asyncio.ensure_future(
        pipeline.respond(Request("GET", "/openapi.json", b"", {}, "127.0.0.1"))
    )
    await asyncio.sleep(0)
    assert free.done()
    assert not any(each.done() for each in waiting)
    await asyncio.gather(*waiting)
