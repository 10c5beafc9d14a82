"""Work that may not take longer than a limit, for the price of a dictionary's entry.

One sweep looks at all that runs: a timer for each would cost more than a token's check.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

SWEEP_EVERY_S: Final = 0.5  # taken off the limit, so that none is ended late

Result = TypeVar("Result")


class Deadlines:
    """Ends what is not done `limit_s` after its begin, or up to SWEEP_EVERY_S earlier, with what
    `late` makes. Sweeps only while something runs."""

    def __init__(self, limit_s: float, late: Callable[[], Exception]) -> None:
        self._limit_s = limit_s - SWEEP_EVERY_S
        self._late = late
        self._began: dict[asyncio.Task[Any], float] = {}  # in this order
        self._ended: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._sweeping = False

    async def hold(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What `work` comes to, in the running task."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  this is a coroutine
        self._began[task] = self._loop.time()
        if not self._sweeping:
            self._sweep()
        try:
            return await work
        except BaseException:
            if task not in self._ended:
                raise
            task.uncancel()  # it may have more requests to answer
            raise self._late() from None
        finally:
            del self._began[task]
            self._ended.discard(task)

    def _sweep(self) -> None:
        late = self._loop.time() - self._limit_s
        for task, began in self._began.items():
            if began > late:
                break  # and so are all behind it
            if task not in self._ended:
                self._ended.add(task)
                task.cancel()
        self._sweeping = bool(self._began)
        if self._sweeping:
            self._loop.call_later(SWEEP_EVERY_S, self._sweep)
