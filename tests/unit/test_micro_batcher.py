"""MicroBatcher: concurrent items share a batch, within bounds, and every caller gets a result."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence

import pytest

from finpay.concurrency import micro_batcher
from finpay.concurrency.micro_batcher import MAX_LINGER_S, MicroBatcher
from finpay.errors import Code, FinPayError
from tests.unit.controlled_batches import ControlledBatches, Results, run_ready


def batcher_with(process: Callable[[Sequence[int]], Awaitable[Results]]) -> MicroBatcher[int, int]:
    return MicroBatcher(process, max_in_flight=1, max_batch=10, max_queued=10)


async def test_lone_item_starts_a_batch_at_once() -> None:
    batches = ControlledBatches()
    (one,) = batches.submit(1)
    await run_ready()
    assert batches.started == [[1]]
    await batches.end_all()
    assert await one == 10


async def test_items_of_one_tick_share_a_batch_in_order() -> None:
    batches = ControlledBatches()
    tasks = batches.submit(3, 1, 2)
    await run_ready()
    assert batches.started == [[3, 1, 2]]
    await batches.end_all()
    assert await asyncio.gather(*tasks) == [30, 10, 20]


async def test_items_submitted_during_a_batch_share_the_next() -> None:
    batches = ControlledBatches()
    tasks = batches.submit(1)
    await run_ready()
    for item in (2, 3, 4):
        tasks += batches.submit(item)
        await run_ready()
    assert batches.started == [[1]]
    await batches.end_next()
    assert batches.started == [[1], [2, 3, 4]]
    await batches.end_all()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]


async def test_items_of_the_linger_ticks_join_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(micro_batcher, "MAX_LINGER_S", 60.0)  # however slow a tick of the test is
    batches = ControlledBatches(linger_ticks=3)
    tasks = batches.submit(1)
    for item in (2, 3, 4, 5, 6):  # each in a tick of its own, 1 in the first
        await asyncio.sleep(0)
        tasks += batches.submit(item)
    await run_ready()
    assert batches.started == [[1, 2, 3]]
    await batches.end_all()
    assert batches.started == [[1, 2, 3], [4, 5, 6]]
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50, 60]


async def test_linger_ends_after_its_time_limit() -> None:
    batches = ControlledBatches(linger_ticks=10**9)
    (one,) = batches.submit(1)
    await asyncio.sleep(20 * MAX_LINGER_S)
    assert batches.started == [[1]]
    await batches.end_all()
    assert await one == 10


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_batches_in_flight_are_bounded(most: int) -> None:
    batches = ControlledBatches(max_in_flight=most, max_batch=2)
    tasks = []
    for item in range(20):
        tasks += batches.submit(item)
        await run_ready()
    assert batches.max_seen == most
    await batches.end_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(20)]
    assert batches.max_seen == most


async def test_batch_size_is_bounded() -> None:
    batches = ControlledBatches(max_batch=3)
    tasks = batches.submit(*range(8))
    await run_ready()
    await batches.end_all()
    assert batches.started == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(8)]


async def test_items_beyond_the_batch_size_start_another_batch_at_once() -> None:
    batches = ControlledBatches(max_in_flight=2, max_batch=3)
    tasks = batches.submit(*range(8))
    await run_ready()
    assert batches.started == [[0, 1, 2], [3, 4, 5]]
    await batches.end_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(8)]


@pytest.mark.parametrize(("items", "sizes"), [(8, [4, 4]), (9, [8, 1]), (20, [8, 8])])
async def test_batches_of_a_long_queue_are_larger(items: int, sizes: list[int]) -> None:
    batches = ControlledBatches(max_in_flight=2, max_batch=8, usual_batch=4, max_queued=20)
    tasks = batches.submit(*range(items))
    await run_ready()
    assert [len(batch) for batch in batches.started] == sizes
    await batches.end_all()
    assert await asyncio.gather(*tasks) == [10 * item for item in range(items)]


async def test_full_queue_refuses_and_processes_nothing() -> None:
    batches = ControlledBatches(max_queued=2)
    tasks = batches.submit(0)
    await run_ready()
    tasks += batches.submit(1, 2)
    await run_ready()
    with pytest.raises(FinPayError) as refused:
        await asyncio.wait_for(batches.batcher.submit(3), 1)
    assert refused.value.code is Code.OVERLOADED
    assert refused.value.headers["Retry-After"] == "1"
    await batches.end_all()
    assert await asyncio.gather(*tasks) == [0, 10, 20]
    assert batches.started == [[0], [1, 2]]
    (late,) = batches.submit(4)
    await run_ready()
    await batches.end_all()
    assert await late == 40


async def test_heavy_items_share_a_batch_where_they_fit_in_order() -> None:
    batches = ControlledBatches(max_batch=10, max_queued_weight=100)
    batches.submit(4, 6, 5, 30, 1, 9, 1)
    await run_ready()
    await batches.end_all()
    assert batches.started == [[4, 6], [5], [30], [1, 9], [1]]


async def test_queued_weight_is_bounded_and_released() -> None:
    batches = ControlledBatches(max_batch=10, max_queued_weight=20)
    tasks = batches.submit(1)
    await run_ready()
    tasks += batches.submit(15, 5)
    await run_ready()
    with pytest.raises(FinPayError) as refused:
        await batches.batcher.submit(1)
    assert refused.value.code is Code.OVERLOADED
    await batches.end_all()
    assert await asyncio.gather(*tasks) == [10, 150, 50]
    tasks = batches.submit(20)
    await run_ready()
    await batches.end_all()
    assert await asyncio.gather(*tasks) == [200]


async def test_cancelled_item_leaves_the_queue() -> None:
    batches = ControlledBatches()
    tasks = batches.submit(1)
    await run_ready()
    waiting = batches.submit(2, 3, 4)
    await run_ready()
    waiting[1].cancel()
    await run_ready()
    await batches.end_all()
    assert batches.started == [[1], [2, 4]]
    assert await asyncio.gather(*tasks, waiting[0], waiting[2]) == [10, 20, 40]
    assert waiting[1].cancelled()


async def test_item_cancelled_in_flight_is_processed() -> None:
    batches = ControlledBatches()
    tasks = batches.submit(1, 2)
    await run_ready()
    tasks[0].cancel()
    await run_ready()
    await batches.end_all()
    assert batches.started == [[1, 2]]
    assert await tasks[1] == 20
    assert tasks[0].cancelled()


async def test_queue_of_cancelled_items_starts_no_batch() -> None:
    batches = ControlledBatches()
    tasks = batches.submit(1)
    await run_ready()
    for task in batches.submit(2, 3):
        await run_ready()
        task.cancel()
    await run_ready()
    await batches.end_all()
    (last,) = batches.submit(4)
    await run_ready()
    await batches.end_all()
    assert batches.started == [[1], [4]]
    assert await asyncio.gather(*tasks, last) == [10, 40]


async def test_failure_of_one_item_leaves_the_others() -> None:
    async def process(items: Sequence[int]) -> Results:
        return [KeyError(item) if item == 2 else item for item in items]

    batcher = batcher_with(process)
    results = await asyncio.gather(*map(batcher.submit, (1, 2, 3)), return_exceptions=True)
    assert (results[0], results[2]) == (1, 3)
    assert isinstance(results[1], KeyError)


async def test_failed_batch_fails_all_its_items_and_the_next_runs() -> None:
    async def process(items: Sequence[int]) -> Results:
        if 1 in items:
            raise OSError("lost")
        return list(items)

    batcher = batcher_with(process)
    results = await asyncio.gather(*map(batcher.submit, (1, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]
    assert await batcher.submit(3) == 3


@pytest.mark.parametrize(("items", "groups"), [(30, [12, 12, 6]), (90, [30, 30, 30])])
async def test_results_are_set_in_groups_per_tick(items: int, groups: list[int]) -> None:
    batches = ControlledBatches()
    futures = [batches.batcher.submit_nowait(item) for item in range(items)]
    await run_ready()
    ending = asyncio.ensure_future(batches.end_next())
    outcome_known = [0]
    while outcome_known[-1] < items:
        await asyncio.sleep(0)
        outcome_known.append(sum(future.done() for future in futures))
    steps = [after - before for before, after in itertools.pairwise(outcome_known)]
    assert [step for step in steps if step] == groups
    await ending


async def test_drain_waits_for_batches_in_flight_and_queued_items() -> None:
    batches = ControlledBatches(max_batch=1)
    tasks = batches.submit(1, 2, 3)
    await run_ready()
    drained = asyncio.ensure_future(batches.batcher.drain())
    for _ in range(3):
        await run_ready()
        assert not drained.done()
        await batches.end_next()
    await run_ready()
    assert drained.done()
    assert [task.result() for task in tasks] == [10, 20, 30]
