"""The delivery worker: claims, attempts and records until it is stopped. Any number may run.

Three loops run at once. Claims happen on a notification, when leases became free, and every POLL_S.
Attempts are one task each, at most MAX_IN_FLIGHT. The heartbeat keeps the worker's leases, takes
over those of workers that are gone, and makes due retries pending.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Unavailable
from finpay.errors import cause_of
from finpay.settings import Settings
from finpay.telemetry import logs, metrics
from finpay.webhooks import attempts, leasing, retention
from finpay.webhooks.attempts import AttemptRecorder
from finpay.webhooks.leasing import Capacity, Lease
from finpay.webhooks.messages import Attempt, Message
from finpay.webhooks.sender import Sender
from finpay.webhooks.ssrf.url_policy import UrlPolicy

CONNECTIONS: Final = 3  # claims, attempts, retention; the heartbeat has its own
MAX_IN_FLIGHT: Final = 512  # attempts; each may have a body of 20 kB and a connection
MAX_PER_OWNER: Final = MAX_IN_FLIGHT // 8  # of them, so that hanging receivers leave the rest free
POLL_S: Final = 1.0  # missed notifications are found by polling
CLAIM_PAUSE_S: Final = 0.02  # between claims, so that one finds several free leases
QUIET_PAUSE_S: Final = 0.05  # after an empty claim: limits the rate under frequent notifications
HEARTBEAT_S: Final = 0.5  # also how late a retry can be
LEASE_S: Final = 5.0  # ten missed heartbeats, so a short stall keeps its leases
LOCK_CLASS: Final = 1_179_207_248  # "FIPP": the class of the workers' advisory locks
RETRIES_PER_STATEMENT: Final = 1_000
MAX_RETRY_STATEMENTS: Final = 20  # per heartbeat: a large backlog must not delay the next one
HEARTBEATS_PER_CHECK: Final = 10  # of the backlog's age and of deleted workers
LOG_PAUSE_S: Final = 5.0  # between two lines postgres_unavailable
DRAIN_S: Final = 8.0  # for attempts in flight at the end; the others are released

Result = TypeVar("Result")

_LOG: Final = logs.get()
_SQL: Final = queries.load("finpay.webhooks")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How many attempts a worker made."""

    delivered: int
    failed: int


class Worker:
    """One process' share of the deliveries.

    `database` has CONNECTIONS connections. `heartbeat` has one, for nothing else: when it ends,
    the other workers take over the leases.
    """

    def __init__(
        self,
        database: Database,
        heartbeat: Database,
        settings: Settings,
        make_sender: Callable[[UrlPolicy, float], Sender] = Sender,
    ) -> None:
        self.id = ids.new_uuid()
        self._database = database
        self._heartbeat_database = heartbeat
        self._retention_s = settings.event_retention_s
        self._max_per_endpoint = settings.webhook_concurrency
        self._sender = make_sender(UrlPolicy.of(settings), settings.webhook_timeout_s)
        policy = attempts.FailurePolicy(
            settings.webhook_retry_schedule_s, settings.webhook_disable_after_s
        )
        self._recorder = AttemptRecorder(database, self.id, policy)
        self._tasks: dict[asyncio.Task[None], Lease] = {}
        self._in_flight: Counter[UUID] = Counter()  # by owner
        self._after = leasing.FIRST
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._once = False
        self._more = False  # the last claim may have left deliveries
        self._leases_unknown = False  # PostgreSQL may have leased deliveries that are not in _tasks
        self._grace_until_s = 0.0  # until then no leases are taken over
        self._ready_until_s = 0.0
        self._unavailable_logged_s: float | None = None  # None: PostgreSQL is available
        self._heartbeats = 0
        self._results: Counter[bool] = Counter()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether PostgreSQL answered within the last LEASE_S seconds."""
        return time.monotonic() < self._ready_until_s

    def wake(self) -> None:
        """Claims soon: there may be pending deliveries."""
        self._woken.set()

    def stop(self) -> None:
        """Ends the claims; `run` returns when the attempts in flight end, or after DRAIN_S.

        A second call cancels the attempts.
        """
        if self._stopping.is_set():
            for task in self._tasks:
                task.cancel()
        self._stopping.set()
        self._woken.set()

    async def run(self, *, once: bool = False) -> RunSummary:
        """Until `stop`, whether PostgreSQL answers or not. `once`: until no delivery is due."""
        self._once = once
        await self._logged(self._heartbeat)  # the first claim finds what it takes over
        loops = [
            asyncio.create_task(self._every(HEARTBEAT_S, self._heartbeat)),
            asyncio.create_task(self._every(retention.PAUSE_S, self._prune)),
        ]
        try:
            while not self._stopping.is_set():
                self._woken.clear()
                found = await self._logged(self._claim)
                if once and found is False and not self._more and not self._tasks:
                    break
                await asyncio.sleep(CLAIM_PAUSE_S if found else QUIET_PAUSE_S)
                if not found:
                    await self._idle()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)
            await self._drain()
        return RunSummary(self._results[True], self._results[False])

    async def _claim(self) -> bool:
        """One claim. True if the next one should follow at once."""
        free = MAX_IN_FLIGHT - len(self._tasks)
        if free == 0:
            self._more = True
            return False
        if self._leases_unknown:
            known = [lease.id for lease in self._tasks.values()]
            await self._database.execute(_SQL.release_unknown_leases, self.id, known)
            self._leases_unknown = False
        began = self._after
        per_owner = max(MAX_PER_OWNER, self._max_per_endpoint)
        capacity = Capacity(free, self._max_per_endpoint, per_owner, self._in_flight)
        result = await leasing.claim(self._database, self.id, after=began, capacity=capacity)
        self._after = result.after
        self._more = result.more
        for lease in result.leases:
            self._start(lease)
        metrics.LEASES.set(len(self._tasks))
        round_complete = began == result.after == leasing.FIRST
        return bool(result.leases and result.more) or result.canceled or not round_complete

    def _start(self, lease: Lease) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(lease))
        self._tasks[task] = lease
        self._in_flight[lease.owner_id] += 1
        task.add_done_callback(self._on_attempt_done)

    async def _deliver(self, lease: Lease) -> None:
        if not isinstance(lease.message, Message):
            await self._recorder.cancel(lease, lease.message)
            return
        attempt = await self._sender.send(lease.message)
        _log_attempt(lease, attempt)
        await self._recorder.record(lease, attempt)
        self._results[attempt.error is None] += 1

    def _on_attempt_done(self, task: asyncio.Task[None]) -> None:
        lease = self._tasks.pop(task)
        self._in_flight[lease.owner_id] -= 1
        if not self._in_flight[lease.owner_id]:
            del self._in_flight[lease.owner_id]
        metrics.LEASES.set(len(self._tasks))
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error(
                "delivery_task_error",
                delivery=ids.encode("whd", lease.id),
                endpoint=ids.encode("whe", lease.endpoint_id),
                exc_info=error,
            )
            self._leases_unknown = True
        if self._more or (self._once and not self._tasks):
            self._woken.set()

    async def _idle(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._woken.wait()

    async def _heartbeat(self) -> None:
        """Extends the leases, takes over those of workers that are gone, enqueues due retries."""
        database = self._heartbeat_database
        await database.execute(_SQL.record_heartbeat, self.id, LEASE_S, LOCK_CLASS)
        self._ready_until_s = time.monotonic() + LEASE_S
        # After an outage of PostgreSQL the other workers get the time to send a heartbeat.
        if time.monotonic() > self._grace_until_s and await database.fetch(
            _SQL.reclaim_leases, LOCK_CLASS
        ):
            self.wake()
        for _ in range(MAX_RETRY_STATEMENTS):
            enqueued = await database.fetch(_SQL.enqueue_due_retries, RETRIES_PER_STATEMENT)
            if enqueued:
                self.wake()
            if len(enqueued) < RETRIES_PER_STATEMENT:
                break
        if self._heartbeats % HEARTBEATS_PER_CHECK == 0:
            row = await database.fetch_one(_SQL.get_oldest_unfinished_age)
            metrics.OLDEST_UNDELIVERED.set((row and row["age_s"]) or 0)
            await database.execute(_SQL.delete_expired_workers)
        self._heartbeats += 1

    async def _prune(self) -> None:
        deliveries, events = await retention.prune(self._database, self._retention_s)
        if deliveries or events:
            _LOG.info("old_rows_deleted", deliveries=deliveries, events=events)

    async def _every(self, pause_s: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            await self._logged(work)
            await asyncio.sleep(pause_s)

    async def _logged(self, work: Callable[[], Awaitable[Result]]) -> Result | None:
        """The result; None, with a line in the log, if PostgreSQL is unavailable or after a bug."""
        try:
            result = await work()
        except Unavailable as error:
            self._log_unavailable(cause_of(error))
        except Exception:  # noqa: BLE001  the other deliveries go on
            _LOG.exception("unhandled_exception")
        else:
            if self._unavailable_logged_s is not None:
                self._unavailable_logged_s = None
                _LOG.info("postgres_recovered")
            return result
        self._leases_unknown = True
        self._grace_until_s = time.monotonic() + LEASE_S
        return None

    def _log_unavailable(self, reason: str) -> None:
        now_s = time.monotonic()
        if self._unavailable_logged_s is None or now_s >= self._unavailable_logged_s + LOG_PAUSE_S:
            self._unavailable_logged_s = now_s
            _LOG.warning("postgres_unavailable", reason=reason)

    async def _drain(self) -> None:
        """Waits for the attempts in flight, then releases the leases that are left."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        await self._sender.close()
        with suppress(Unavailable):
            await self._database.execute(_SQL.release_leases, self.id)
            await self._database.execute(_SQL.deregister_worker, self.id)


def _log_attempt(lease: Lease, attempt: Attempt) -> None:
    """Without the URL, which may contain a secret of its owner."""
    _LOG.info(
        "delivery_attempt",
        delivery=ids.encode("whd", lease.id),
        endpoint=ids.encode("whe", lease.endpoint_id),
        type=lease.event_type,
        http_status=attempt.http_status,
        error=attempt.error,
        ms=round(attempt.duration_s * 1_000),
    )
