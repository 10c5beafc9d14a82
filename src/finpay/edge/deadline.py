"""No request takes longer than REQUEST_LIMIT_S, however many slow things it meets in a row.

Each wait has a deadline of its own: 90 ms for Redis, 4 s for a statement, 4.5 s for a transfer, a
short queue for passwords. Some requests have several of them. One sweep looks at all that run,
since a timer for each would cost more than the token's check.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from finpay.errors import unavailable

REQUEST_LIMIT_S: Final = 10.0  # from its last byte to its answer; load balancers wait 30 or 60
SWEEP_EVERY_S: Final = 0.5  # taken off the limit, so that none is ended late

Result = TypeVar("Result")


class Deadlines:
    """One per process. Sweeps only while something runs."""

    def __init__(self, limit_s: float = REQUEST_LIMIT_S) -> None:
        self._limit_s = limit_s - SWEEP_EVERY_S
        self._began: dict[asyncio.Task[Any], float] = {}  # in this order
        self._ended: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._sweeping = False

    async def hold(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What `work` comes to, in the running task. FinPayError `unavailable` if it is late."""
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
            raise unavailable(
                "This took too long, so what became of it is not known. Try again, with the same "
                "idempotency key if it has one."
            ) from None
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
