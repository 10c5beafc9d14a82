"""A request that meets one slow thing after another is ended as a whole."""

import asyncio

import pytest

from finpay.concurrency.deadlines import SWEEP_EVERY_S, Deadlines
from finpay.errors import Code, FinPayError, unavailable

LIMIT_S = SWEEP_EVERY_S + 0.5  # what the sweep takes off is no part of it


def late() -> FinPayError:
    return unavailable("This took too long.")


async def test_what_is_late_is_told_so_and_may_still_clean_up() -> None:
    settled: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            settled.append("settled")

    deadlines = Deadlines(LIMIT_S, late)
    with pytest.raises(FinPayError) as ended:
        await deadlines.hold(slow())
    assert ended.value.code is Code.UNAVAILABLE
    assert settled == ["settled"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the task answers its next request as usual"


async def test_others_go_on_and_one_task_may_do_many() -> None:
    deadlines = Deadlines(LIMIT_S, late)

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
    deadlines = Deadlines(LIMIT_S, late)
    task = asyncio.create_task(deadlines.hold(asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_of_two_limits_around_one_work_the_shorter_tells() -> None:
    """A transfer's own, and its request's."""
    inner = Deadlines(LIMIT_S, late)
    outer = Deadlines(LIMIT_S + 0.5, lambda: unavailable("That took too long."))
    with pytest.raises(FinPayError, match="This took too long"):
        await outer.hold(inner.hold(asyncio.sleep(60)))
    with pytest.raises(FinPayError, match="That took too long"):
        await outer.hold(asyncio.sleep(60))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
