"""Wakes the workers after a commit that left something to deliver.

NOTIFY inside the ledger's own transactions would line up their commits behind one lock. So it goes
over a connection of its own, after the commit, at most once per PAUSE_S; workers look by themselves
every second all the same.
"""

import asyncio
from contextlib import suppress
from typing import Final

from finpay.db.pool import Database, Unavailable

CHANNEL: Final = "finpay_webhooks"
PAUSE_S: Final = 0.05  # twenty per second and process: no load, and nobody notices the wait

_NOTIFY: Final = f"NOTIFY {CHANNEL}"


class Notifier:
    """`wake` may be called for every commit. `database` is a pool of one, for this alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def wake(self) -> None:
        """Returns at once; the workers hear of it within PAUSE_S, unless PostgreSQL is away."""
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._tell())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _tell(self) -> None:
        while self._again:
            self._again = False
            with suppress(Unavailable):
                await self._database.execute(_NOTIFY)
            await asyncio.sleep(PAUSE_S)
