"""A circuit breaker: a failure stops all calls until a probe in the background succeeds."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from finpay.telemetry import logs, metrics

PROBE_EVERY_S: Final = 0.25

_LOG = logs.get()


class CircuitBreaker:
    """Open until `probe` returns True. `on_open` runs each time that it opens, before the probe."""

    def __init__(
        self, probe: Callable[[], Awaitable[bool]], on_open: Callable[[], Awaitable[None]]
    ) -> None:
        self._probe = probe
        self._on_open = on_open
        self._probing: asyncio.Task[None] | None = None
        self.is_open = True

    async def start(self) -> None:
        """Probes once; if that fails, goes on in the background."""
        if await self._probe():
            self._close()
        else:
            self.open("not reached at start")

    def open(self, reason: str) -> None:
        """Stops calls until a probe succeeds."""
        if self._probing is not None and not self._probing.done():
            return
        self.is_open = True
        metrics.BREAKER_OPEN.set(1)
        _LOG.warning("redis_unavailable", reason=reason)
        self._probing = asyncio.get_running_loop().create_task(self._keep_probing())

    async def stop(self) -> None:
        self.is_open = True
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing

    def _close(self) -> None:
        self.is_open = False
        metrics.BREAKER_OPEN.set(0)

    async def _keep_probing(self) -> None:
        await self._on_open()
        while not await self._probe():  # noqa: ASYNC110  Redis sends no event when it is back
            await asyncio.sleep(PROBE_EVERY_S)
        self._close()
        _LOG.info("redis_recovered")
