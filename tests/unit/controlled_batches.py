"""A MicroBatcher whose batches end when a test says so."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

from finpay.concurrency.micro_batcher import MicroBatcher

Results: TypeAlias = Sequence[int | Exception]


class ControlledBatches:
    """Batches that end when the test says so; each result is ten times its item."""

    def __init__(
        self,
        *,
        max_in_flight: int = 1,
        max_batch: int = 100,
        max_queued: int = 100,
        max_queued_weight: int | None = None,
        usual_batch: int | None = None,
        linger_ticks: int = 1,
    ) -> None:
        self.started: list[list[int]] = []
        self.max_seen = 0
        self._endings: list[asyncio.Future[None]] = []
        self._running = 0
        weight: dict[str, Any] = {}
        if max_queued_weight is not None:
            weight = {"weight_of": lambda item: item, "max_queued_weight": max_queued_weight}
        self.batcher: MicroBatcher[int, int] = MicroBatcher(
            self._process,
            max_in_flight=max_in_flight,
            max_batch=max_batch,
            max_queued=max_queued,
            usual_batch=usual_batch,
            linger_ticks=linger_ticks,
            **weight,
        )

    async def _process(self, items: Sequence[int]) -> Results:
        self.started.append(list(items))
        self._running += 1
        self.max_seen = max(self.max_seen, self._running)
        ending = asyncio.get_running_loop().create_future()
        self._endings.append(ending)
        await ending
        self._running -= 1
        return [item * 10 for item in items]

    async def end_next(self) -> None:
        self._endings.pop(0).set_result(None)
        await run_ready()

    async def end_all(self) -> None:
        while self._endings:
            await self.end_next()

    def submit(self, *items: int) -> list[asyncio.Task[int]]:
        return [asyncio.ensure_future(self.batcher.submit(item)) for item in items]


async def run_ready() -> None:
    """Runs the event loop until only the controlled batches are left."""
    for _ in range(10):
        await asyncio.sleep(0)
