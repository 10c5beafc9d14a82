"""Drives FinPay and AsyncFinPay the same way, so that a test runs over both."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx

from finpay.client import AsyncFinPay, FinPay
from tests.unit.client_responses import ROOT

CALLERS: Final = 5  # of `call_concurrently`

Handler = Callable[[httpx.Request], Any]


class SyncDriver:
    """Calls FinPay by method name; pauses are recorded in `slept_s` and take no time."""

    def __init__(self, handler: Handler, options: dict[str, Any]) -> None:
        self.slept_s: list[float] = []
        self._barrier = threading.Barrier(CALLERS)
        self._http = httpx.Client(transport=httpx.MockTransport(handler))
        self.client: Any = FinPay(ROOT, http=self._http, sleep=self.slept_s.append, **options)

    def call(self, name: str, *args: Any, **named: Any) -> Any:
        return getattr(self.client, name)(*args, **named)

    def items(self, name: str, **filters: Any) -> list[Any]:
        return list(getattr(self.client, name)(**filters))

    def page(self, name: str, cursor: str | None) -> Any:
        return getattr(self.client, name)().page(cursor)

    def call_concurrently(self, name: str) -> list[Any]:
        with ThreadPoolExecutor(CALLERS) as pool:
            return list(pool.map(lambda _: self.call(name), range(CALLERS)))

    def wait_for_all(self, given: httpx.Response) -> httpx.Response:
        self._barrier.wait(timeout=10)
        return given

    def delayed(self, given: httpx.Response) -> httpx.Response:
        time.sleep(0.02)
        return given

    def close(self) -> None:
        self._http.close()


class AsyncDriver:
    """Calls AsyncFinPay by method name, from plain code."""

    def __init__(self, handler: Handler, options: dict[str, Any]) -> None:
        self.slept_s: list[float] = []
        self._barrier = asyncio.Barrier(CALLERS)
        self._runner = asyncio.Runner()
        self._run = self._runner.run
        self._http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
        self.client: Any = AsyncFinPay(ROOT, http=self._http, sleep=self._sleep, **options)

    def call(self, name: str, *args: Any, **named: Any) -> Any:
        return self._run(getattr(self.client, name)(*args, **named))

    def items(self, name: str, **filters: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [item async for item in getattr(self.client, name)(**filters)]

        return self._run(collect())

    def page(self, name: str, cursor: str | None) -> Any:
        return self._run(getattr(self.client, name)().page(cursor))

    def call_concurrently(self, name: str) -> list[Any]:
        async def gather() -> list[Any]:
            return await asyncio.gather(*(getattr(self.client, name)() for _ in range(CALLERS)))

        return self._run(gather())

    async def wait_for_all(self, given: httpx.Response) -> httpx.Response:
        await self._barrier.wait()
        return given

    async def delayed(self, given: httpx.Response) -> httpx.Response:
        await asyncio.sleep(0.02)
        return given

    def close(self) -> None:
        self._run(self._http.aclose())
        self._runner.close()

    async def _sleep(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)


Driver = SyncDriver | AsyncDriver
Connect = Callable[..., Driver]
