"""Calls a function for each NOTIFY of PostgreSQL, on a connection of its own.

A notification is a hint: those missed while the connection was lost are found by polling.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import asyncpg

from finpay.db.pool import CONNECT_TIMEOUT_S

RETRY_PAUSE_S: Final = 1.0  # short enough: the listening process polls as well


class Listener:
    """Calls `on_notify` for each notification of `channel`, from `start` to `close`."""

    def __init__(self, url: str, channel: str, on_notify: Callable[[], None]) -> None:
        self._url = url
        self._channel = channel
        self._on_notify = on_notify
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._listen()
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _listen(self) -> None:
        """Returns when the connection is lost."""
        connection = await asyncpg.connect(self._url, timeout=CONNECT_TIMEOUT_S)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            await connection.execute("SET application_name = 'finpay'")
            await connection.add_listener(self._channel, lambda *_: self._on_notify())
            self._on_notify()  # for notifications before LISTEN
            await lost.wait()
        finally:
            connection.terminate()
