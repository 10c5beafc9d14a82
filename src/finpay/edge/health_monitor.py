"""Checks PostgreSQL and Redis in the background, so that a health response never waits."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

from finpay.db.data_state import DataState, read_data_state
from finpay.db.pool import Database, Executor, Unavailable
from finpay.errors import cause_of
from finpay.gate.gate import Gate
from finpay.ledger import continuous_verification
from finpay.telemetry import logs

CHECK_EVERY_S: Final = 0.3  # with the timeout: no response is older than one second
WARN_EVERY_S: Final = 30.0  # while PostgreSQL is unavailable
TIMEOUT_S: Final = 0.6
INTEGRITY_EVERY_S: Final = 5.0  # workers verify about once a minute
RECORD_EVERY_S: Final = 5.0  # commits of so long may be undone without being noticed

_LOG: Final = logs.get()


class PreflightRefused(Exception):
    """The database is not one that this release can run on: there is nothing to wait for."""


class HealthMonitor:
    """The last known state of PostgreSQL and Redis.

    `preflight` runs once, at the first connection to PostgreSQL: PreflightRefused ends the checks.
    Until it has returned, `postgres_ok` is False.
    """

    def __init__(
        self, database: Database, gate: Gate, preflight: Callable[[], Awaitable[None]]
    ) -> None:
        self._database = database
        self._gate = gate
        self._preflight = preflight
        self._accepted = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.postgres_ok = False
        self.read_only = False  # it answers, but as a standby or an old primary might
        self._warn_due_s = 0.0  # the first check may already fail
        self.draining = False
        self.integrity: continuous_verification.VerificationStatus = "unknown"
        self._integrity_due_s = 0.0
        self._record_due_s = 0.0

    @property
    def redis_ok(self) -> bool:
        """Whether requests use Redis. Without PostgreSQL: whether they could."""
        used = self._gate.known_database.is_known or not self.postgres_ok
        return used and not self._gate.redis_down

    async def check_connection(self, connection: Executor) -> None:
        """Before the first statement of a new connection, which may lead to other data: no process
        replays answers from Redis that are not in it."""
        await self._check_data(connection)

    async def start(self) -> None:
        await self._check()
        self._task = asyncio.get_running_loop().create_task(self._keep_checking())

    async def close(self) -> None:
        self._closing = True  # a library's clean-up may swallow the cancellation
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep_checking(self) -> None:
        while not self._closing:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                await self._check()
            except Exception:  # noqa: BLE001  the next check may succeed
                self.postgres_ok = False
                _LOG.exception("health_check_failed")

    async def _check(self) -> None:
        was_ok = self.postgres_ok
        await self._gate.ping()
        reason = state = None
        belongs = True
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if not self._accepted:
                    await self._preflight()
                    self._accepted = True
                state, belongs = await self._check_data(self._database)
                await self._check_integrity()
            self.postgres_ok = state is not None
            self.read_only = not self.postgres_ok
        except (Unavailable, TimeoutError) as error:
            self.postgres_ok = self.read_only = False
            reason = cause_of(error)
        except PreflightRefused:
            self._closing = True
            return
        self._log(reason, was_ok=was_ok)
        if state is not None:
            await self._keep_redis(state, belongs=belongs)

    def _log(self, reason: str | None, *, was_ok: bool) -> None:
        """Logs each change, and every WARN_EVERY_S what is missing: also at the start."""
        now_s = time.monotonic()
        if self.postgres_ok:
            if not was_ok and self._warn_due_s:
                _LOG.info("postgres_recovered")
            self._warn_due_s = now_s
        elif was_ok or now_s >= self._warn_due_s:
            _LOG.warning("postgres_unavailable", read_only=self.read_only, reason=reason)
            self._warn_due_s = now_s + WARN_EVERY_S

    async def _check_data(self, database: Executor) -> tuple[DataState | None, bool]:
        """The state of the data, and whether the keys in Redis belong to it."""
        known = await self._gate.known_database.read()
        state = await read_data_state(database)
        return state, state is None or await self._gate.known_database.check(known, state)

    async def _keep_redis(self, state: DataState, *, belongs: bool) -> None:
        if not belongs:
            await self._gate.known_database.adopt(state)
        elif time.monotonic() >= self._record_due_s:
            await self._gate.known_database.record(state)
            self._record_due_s = time.monotonic() + RECORD_EVERY_S

    async def _check_integrity(self) -> None:
        if time.monotonic() >= self._integrity_due_s:
            self.integrity = (await continuous_verification.read_state(self._database)).status
            self._integrity_due_s = time.monotonic() + INTEGRITY_EVERY_S
