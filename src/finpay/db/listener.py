"""A connection that only listens: PostgreSQL's NOTIFY, turned into a call.

It is a hint and no more: what was missed while the connection was away is found by whoever polls.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import asyncpg

from finpay.db.pool import CONNECT_TIMEOUT_S

RETRY_PAUSE_S: Final = 1.0  # whoever listens polls as well, so there is no hurry


class Listener:
    """Calls `heard` for each notification of `channel`, from `start` to `close`."""

    def __init__(self, url: str, channel: str, heard: Callable[[], None]) -> None:
        self._url = url
        self._channel = channel
        self._heard = heard
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._stay())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _stay(self) -> None:
        while True:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._listen()
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _listen(self) -> None:
        """Until the connection is lost."""
        connection = await asyncpg.connect(self._url, timeout=CONNECT_TIMEOUT_S)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            await connection.execute("SET application_name = 'finpay'")
            await connection.add_listener(self._channel, lambda *_: self._heard())
            self._heard()  # for what came before
            await lost.wait()
        finally:
            connection.terminate()
