"""Micro-batching: items submitted while a batch is in flight are processed together in the next.

No batch waits for a number of items, only for a few ticks of the event loop: many concurrent items
share the cost of one round trip, and a lone one hardly waits.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from finpay.errors import overloaded

# Callers are resumed in groups, so that the event loop reads sockets between two groups.
RESULTS_PER_TICK: Final = 12
MAX_RESULT_TICKS: Final = 3  # upper bound on the groups of one batch
MAX_LINGER_S: Final = 0.008  # upper bound on the linger, however long a tick takes

Item = TypeVar("Item")
Result = TypeVar("Result")


class MicroBatcher(Generic[Item, Result]):
    """Passes items in batches to `process`, which returns one result or exception per item.

    At most `max_in_flight` batches run at once, with at most `max_batch` items each, and at most
    `max_queued` items wait; beyond that `submit` raises `overloaded` and nothing was done. With
    `weight_of` an item counts as that many items towards `max_batch` and towards
    `max_queued_weight`; one heavier than `max_batch` has a batch of its own. With `usual_batch` a
    batch has at most that many, unless more are queued than `max_in_flight` such batches take.
    A batch starts after `linger_ticks` event-loop ticks, or after MAX_LINGER_S. An item whose
    caller is cancelled leaves the queue; once its batch has started it is processed all the same.
    """

    def __init__(
        self,
        process: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        max_in_flight: int,
        max_batch: int,
        max_queued: int,
        weight_of: Callable[[Item], int] = lambda _: 1,
        max_queued_weight: int | None = None,
        usual_batch: int | None = None,
        linger_ticks: int = 1,
    ) -> None:
        self._process = process
        self._max_in_flight = max_in_flight
        self._max_batch = max_batch
        self._usual_batch = usual_batch or max_batch
        self._max_queued = max_queued
        self._max_queued_weight = max_queued_weight or max_queued
        self._weight_of = weight_of
        self._linger_ticks = linger_ticks
        self._queue: deque[tuple[Item, int, asyncio.Future[Result]]] = deque()
        self._queued_weight = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._collecting = False  # a batch has been started and still lingers
        self._loop: asyncio.AbstractEventLoop | None = None  # of the first item

    async def submit(self, item: Item) -> Result:
        """The result of this item. Raises the exception that `process` returned for it."""
        return await self.submit_nowait(item)

    def submit_nowait(self, item: Item) -> asyncio.Future[Result]:
        """As `submit`, but returns a future at once."""
        weight = self._weight_of(item)
        if (
            len(self._queue) >= self._max_queued
            or self._queued_weight + weight > self._max_queued_weight
        ):
            raise overloaded("Too many requests are queued. Try again in a moment.")
        # To ask for the running loop takes a system call.
        self._loop = loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue.append((item, weight, future))
        self._queued_weight += weight
        self._start_batch()
        return future

    async def drain(self) -> None:
        """Waits until the queue is empty and no batch is in flight."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def _start_batch(self) -> None:
        if not self._queue or self._collecting or len(self._in_flight) >= self._max_in_flight:
            return
        self._collecting = True
        task = asyncio.get_running_loop().create_task(self._run_batch())
        self._in_flight.add(task)
        task.add_done_callback(self._batch_done)

    def _batch_done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._start_batch()

    async def _run_batch(self) -> None:
        await self._linger()
        self._collecting = False
        batch = self._take_batch()
        self._start_batch()  # for the items that did not fit
        if not batch:
            return
        try:
            results = await self._process([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  every caller gets the error
            results = [error] * len(batch)
        await _resolve([future for _, future in batch], results)

    async def _linger(self) -> None:
        """Waits for more items. The first tick is that of the task itself."""
        time = asyncio.get_running_loop().time
        until_s = time() + MAX_LINGER_S
        for _ in range(1, self._linger_ticks):
            await asyncio.sleep(0)
            if time() > until_s:
                return

    def _take_batch(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """In the order of the queue: the first item that does not fit ends the batch."""
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        is_long = self._queued_weight > self._usual_batch * self._max_in_flight
        free = self._max_batch if is_long else self._usual_batch
        while self._queue and free > 0:
            item, weight, future = self._queue[0]
            if batch and weight > free:
                break
            self._queue.popleft()
            self._queued_weight -= weight
            if not future.done():
                batch.append((item, future))
                free -= weight
        return batch


async def _resolve(
    futures: Sequence[asyncio.Future[Result]], results: Sequence[Result | Exception]
) -> None:
    per_tick = max(RESULTS_PER_TICK, -(-len(futures) // MAX_RESULT_TICKS))
    for number, (future, result) in enumerate(zip(futures, results, strict=True), 1):
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
        if number % per_tick == 0:
            await asyncio.sleep(0)
