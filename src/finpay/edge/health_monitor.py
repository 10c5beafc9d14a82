"""Looks after the dependencies in the background, so that a health answer never waits."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

from finpay.db.pool import Database, Unavailable
from finpay.gate.gate import Gate
from finpay.ledger import continuous_verification
from finpay.telemetry import logs

EVERY_S: Final = 0.3  # with the timeout: no answer is older than a second
TIMEOUT_S: Final = 0.6
INTEGRITY_EVERY_S: Final = 5.0  # workers check once a minute or so

_LOG: Final = logs.get()

_WRITABLE: Final = """
SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' AS writable
"""


class HealthMonitor:
    """What is known of PostgreSQL and Redis right now.

    `first_contact` runs once, when PostgreSQL first answers: it refuses a database that this
    release can't run on (see app.py). Until it returned, money can't move.
    """

    def __init__(
        self, database: Database, gate: Gate, first_contact: Callable[[], Awaitable[None]]
    ) -> None:
        self._database = database
        self._gate = gate
        self._first_contact = first_contact
        self._accepted = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.postgres_ok = False
        self.read_only = False  # it answers, but as a standby or an old primary might
        self.draining = False
        self.integrity: continuous_verification.VerificationStatus = "unknown"
        self._integrity_due_s = 0.0

    @property
    def redis_ok(self) -> bool:
        return not self._gate.redis_down

    async def start(self) -> None:
        await self._look()
        self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    async def close(self) -> None:
        self._closing = True  # a cancellation alone may drown in a library's clean-up
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep_looking(self) -> None:
        while not self._closing:
            await asyncio.sleep(EVERY_S)
            try:
                await self._look()
            except Exception:  # noqa: BLE001  whatever it was, the next look may tell more
                self.postgres_ok = False
                _LOG.exception("probe")

    async def _look(self) -> None:
        was_ok = self.postgres_ok
        await self._gate.ping()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if not self._accepted:
                    await self._first_contact()
                    self._accepted = True
                row = await self._database.fetch_one(_WRITABLE)
                await self._look_at_integrity()
            self.postgres_ok = bool(row and row["writable"])
            self.read_only = not self.postgres_ok
        except (Unavailable, TimeoutError):
            self.postgres_ok = self.read_only = False
        if was_ok and not self.postgres_ok:
            _LOG.warning("postgres_away", read_only=self.read_only)
        elif self.postgres_ok and not was_ok:
            _LOG.info("postgres_ok")

    async def _look_at_integrity(self) -> None:
        if time.monotonic() >= self._integrity_due_s:
            self.integrity = (await continuous_verification.look(self._database)).verdict
            self._integrity_due_s = time.monotonic() + INTEGRITY_EVERY_S
