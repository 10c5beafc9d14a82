"""A request that meets one slow thing after another is ended as a whole."""

import asyncio

import pytest

from finpay.edge.deadline import SWEEP_EVERY_S, Deadlines
from finpay.errors import Code, FinPayError

LIMIT_S = SWEEP_EVERY_S + 0.5  # what the sweep takes off is no part of it


async def test_what_is_late_is_unavailable_and_may_still_clean_up() -> None:
    settled: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            settled.append("settled")

    deadlines = Deadlines(LIMIT_S)
    with pytest.raises(FinPayError) as late:
        await deadlines.hold(slow())
    assert late.value.code is Code.UNAVAILABLE
    assert settled == ["settled"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the task answers its next request as usual"


async def test_others_go_on_and_one_task_may_do_many() -> None:
    deadlines = Deadlines(LIMIT_S)

    async def quick(answer: int) -> int:
        await asyncio.sleep(0.05)
        return answer

    async def line() -> list[int]:
        return [await deadlines.hold(quick(number)) for number in range(25)]

    slow = asyncio.create_task(deadlines.hold(asyncio.sleep(60)))
    assert await line() == list(range(25)), "together they take longer than the limit"
    with pytest.raises(FinPayError):
        await slow


async def test_a_cancellation_from_outside_stays_one() -> None:
    deadlines = Deadlines(LIMIT_S)
    task = asyncio.create_task(deadlines.hold(asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
