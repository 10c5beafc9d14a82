"""Notifies the workers after a commit that enqueued deliveries.

NOTIFY inside the ledger's transactions would serialize their commits on one lock of PostgreSQL. So
it is sent after the commit, over a connection that no request uses, at most once per PAUSE_S.
Workers also poll every second.
"""

import asyncio
from contextlib import suppress
from typing import Final

from finpay.db.pool import Database, Unavailable

CHANNEL: Final = "finpay_webhooks"
PAUSE_S: Final = 0.05  # twenty notifications per second and process at most

_NOTIFY: Final = f"NOTIFY {CHANNEL}"


class Notifier:
    """`notify` may be called after every commit. `database` is a pool that no request waits for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self._pending = False

    def notify(self) -> None:
        """Returns at once; notifies within PAUSE_S, unless PostgreSQL is unavailable."""
        self._pending = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Drops a notification that is not sent yet: workers also poll."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self._pending:
            self._pending = False
            with suppress(Unavailable):
                await self._database.execute(_NOTIFY)
            await asyncio.sleep(PAUSE_S)
