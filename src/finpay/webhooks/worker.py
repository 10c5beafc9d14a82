"""The worker: claims, sends and records until it is told to stop. Any number of them may run.

Three things go on at once: the claims, which look when they are woken, when places became free, and
every POLL_S; the attempts, one task each, bounded by MAX_IN_FLIGHT; and the pulse, which keeps the
worker's leases alive, takes back those of the dead, and brings up retries whose time has come.
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
from finpay.settings import Settings
from finpay.telemetry import logs, metrics
from finpay.webhooks import attempts, leasing, retention
from finpay.webhooks.attempts import AttemptRecorder
from finpay.webhooks.leasing import Lease
from finpay.webhooks.sender import Sender
from finpay.webhooks.ssrf.url_policy import UrlPolicy

CONNECTIONS: Final = 3  # claims, outcomes, retention; the pulse has one of its own
MAX_IN_FLIGHT: Final = 512  # each may hold a body of 20 kB and a connection
POLL_S: Final = 1.0  # the guarantee: nothing waits longer for want of a wake-up call
CLAIM_PAUSE_S: Final = 0.02  # so that a claim finds several places free, and not each one alone
QUIET_PAUSE_S: Final = 0.05  # as often as we are woken: nobody notices, and PostgreSQL has peace
PULSE_S: Final = 0.5  # retries are that exact
LEASE_S: Final = 5.0  # ten pulses: nobody is taken for dead because of a slow moment
LOCK_CLASS: Final = 1_179_207_248  # "FIPP": the advisory locks of workers, and of nobody else
PROMOTED_PER_STATEMENT: Final = 1_000
MAX_PROMOTIONS: Final = 20  # statements per pulse: the leases must not wait for a big backlog
PULSES_PER_LOOK_AT_AGE: Final = 10
DRAIN_S: Final = 8.0  # for attempts on their way at the end; what hangs longer is made anew

Result = TypeVar("Result")

_LOG: Final = logs.get()
_SQL: Final = queries.load("finpay.webhooks")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a worker did in its life: attempts."""

    delivered: int
    failed: int


class Worker:
    """One process' share of the deliveries.

    `database` has CONNECTIONS connections, `pulse` one, which is used for nothing else: the other
    workers take its end for ours.
    """

    def __init__(
        self,
        database: Database,
        pulse: Database,
        settings: Settings,
        make_sender: Callable[[UrlPolicy, float], Sender] = Sender,
    ) -> None:
        self.id = ids.new_uuid()
        self._database = database
        self._pulse_database = pulse
        self._keep_s = settings.event_retention_s
        self._bound = settings.webhook_concurrency
        self._sender = make_sender(UrlPolicy.of(settings), settings.webhook_timeout_s)
        rules = attempts.FailurePolicy(
            settings.webhook_retry_schedule_s, settings.webhook_disable_after_s
        )
        self._outcomes = AttemptRecorder(database, self.id, rules)
        self._attempts: dict[asyncio.Task[None], UUID] = {}
        self._after = leasing.FIRST
        self._look = asyncio.Event()
        self._stopping = asyncio.Event()
        self._once = False
        self._more = False  # the last claim may have left some
        self._unsure = False  # PostgreSQL may have leased us what we don't know of
        self._away_until_s = 0.0
        self._well_until_s = 0.0
        self._pulses = 0
        self._results: Counter[bool] = Counter()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether PostgreSQL answered a moment ago."""
        return time.monotonic() < self._well_until_s

    def wake(self) -> None:
        """There may be something to deliver."""
        self._look.set()

    def stop(self) -> None:
        """No more claims; `run` ends when what is on its way has ended, or after DRAIN_S.

        Called again, it ends at once.
        """
        if self._stopping.is_set():
            for task in self._attempts:
                task.cancel()
        self._stopping.set()
        self._look.set()

    async def run(self, *, once: bool = False) -> RunSummary:
        """Until `stop`, whatever PostgreSQL does. `once`: until nothing is due any more."""
        self._once = once
        await self._guarded(self._pulse)  # what the dead held is ours to claim at once
        others = [
            asyncio.create_task(self._forever(self._pulse, PULSE_S)),
            asyncio.create_task(self._forever(self._prune, retention.PAUSE_S)),
        ]
        try:
            while not self._stopping.is_set():
                self._look.clear()
                found = await self._guarded(self._claim)
                if once and found is False and not self._more and not self._attempts:
                    break
                await asyncio.sleep(CLAIM_PAUSE_S if found else QUIET_PAUSE_S)
                if not found:
                    await self._idle()
        finally:
            for other in others:
                other.cancel()
            await asyncio.wait(others)
            await self._end()
        return RunSummary(self._results[True], self._results[False])

    async def _claim(self) -> bool:
        """One claim. Whether it found something, so that the next should follow."""
        places = MAX_IN_FLIGHT - len(self._attempts)
        if places == 0:
            self._more = True
            return False
        if self._unsure:
            await self._database.execute(
                _SQL.release_unknown_leases, self.id, list(self._attempts.values())
            )
            self._unsure = False
        began = self._after
        turn = await leasing.claim(
            self._database, self.id, after=began, places=places, bound=self._bound
        )
        self._after = turn.after
        self._more = turn.more
        for lease in turn.leases:
            task = asyncio.get_running_loop().create_task(self._deliver(lease))
            self._attempts[task] = lease.id
            task.add_done_callback(self._landed)
        metrics.LEASES.set(len(self._attempts))
        all_seen = began == turn.after == leasing.FIRST
        return bool(turn.leases and turn.more) or turn.canceled or not all_seen

    async def _deliver(self, lease: Lease) -> None:
        if lease.message is None:
            await self._outcomes.give_up(lease)
            return
        attempt = await self._sender.send(lease.message)
        await self._outcomes.record(lease, attempt)
        self._results[attempt.error is None] += 1

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._attempts[task]
        metrics.LEASES.set(len(self._attempts))
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("delivery_broke", reason=repr(error))
            self._unsure = True
        if self._more or (self._once and not self._attempts):
            self._look.set()

    async def _idle(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._look.wait()

    async def _pulse(self) -> None:
        """Lives on; takes over from the dead; brings up what is due again."""
        await self._pulse_database.execute(_SQL.record_heartbeat, self.id, LEASE_S, LOCK_CLASS)
        self._well_until_s = time.monotonic() + LEASE_S
        # After an absence of PostgreSQL everybody has to be heard of first.
        if time.monotonic() > self._away_until_s and await self._pulse_database.fetch(
            _SQL.reclaim_leases, LOCK_CLASS
        ):
            self.wake()
        for _ in range(MAX_PROMOTIONS):
            promoted = await self._pulse_database.fetch(
                _SQL.enqueue_due_retries, PROMOTED_PER_STATEMENT
            )
            if promoted:
                self.wake()
            if len(promoted) < PROMOTED_PER_STATEMENT:
                break
        if self._pulses % PULSES_PER_LOOK_AT_AGE == 0:
            row = await self._pulse_database.fetch_one(_SQL.get_oldest_unfinished_age)
            metrics.OLDEST_UNDELIVERED.set((row and row["age_s"]) or 0)
            await self._pulse_database.execute(_SQL.delete_dead_workers)
            self._sender.close_idle()
        self._pulses += 1

    async def _prune(self) -> None:
        deliveries, events = await retention.prune(self._database, self._keep_s)
        if deliveries or events:
            _LOG.info("pruned", deliveries=deliveries, events=events)

    async def _forever(self, work: Callable[[], Awaitable[object]], pause_s: float) -> None:
        while True:
            await self._guarded(work)
            await asyncio.sleep(pause_s)

    async def _guarded(self, work: Callable[[], Awaitable[Result]]) -> Result | None:
        """None, after a line in the log, if PostgreSQL was away or we have a bug: both may pass."""
        try:
            return await work()
        except Unavailable as error:
            _LOG.warning("postgres_away", reason=str(error.__cause__ or error))
        except Exception:  # noqa: BLE001  the others' deliveries go on
            _LOG.exception("bug")
        self._unsure = True
        self._away_until_s = time.monotonic() + LEASE_S
        return None

    async def _end(self) -> None:
        """Lets what is on its way arrive, and gives back the rest."""
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=DRAIN_S)
        left = list(self._attempts)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        self._sender.close()
        with suppress(Unavailable):
            await self._database.execute(_SQL.release_leases, self.id)
            await self._database.execute(_SQL.deregister_worker, self.id)
