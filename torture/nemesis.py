"""Carries out a plan: each strike at its time, and never two on one server."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import psutil

from finpay.db.pool import Database, Unavailable
from torture.cluster import Rig, Service
from torture.fault_plan import KILLS, Fault, Strike
from torture.load import Crowd
from torture.tcp_proxy import Proxy, Trap

LATENCY_S: Final = 2.0
CUTS: Final = 8  # answers that clients never read, per strike
TORN: Final = 3  # answers to a COMMIT that are cut, per strike
TRAP_LIMIT_S: Final = 1.0  # a trap in which nobody steps is taken away
# What an answer to a posted transfer contains, and nothing else that passes the proxy.
_POSTED: Final = b'"status":"completed"'
_POLL_S: Final = 0.02
# A backend that serves the API or the worker, the ones that post money first.
_BACKEND: Final = """
SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'finpay%' AND pid <> pg_backend_pid()
ORDER BY query LIKE '%post_transfers%' DESC, state = 'active' DESC, query_start DESC LIMIT 1
"""


class Missed(Exception):
    """There was nobody to harm."""


@dataclass(frozen=True, slots=True)
class Struck:
    """What became of one strike. `pid` is who was killed; `missed` says why nobody was harmed."""

    strike: Strike
    at_s: float
    pid: int | None = None
    missed: str = ""

    @property
    def killed(self) -> bool:
        return self.strike.fault in KILLS and not self.missed


@dataclass(slots=True)
class Nemesis:
    """`victims` reaches PostgreSQL directly, to find its processes."""

    rig: Rig
    crowd: Crowd
    victims: Database
    struck: list[Struck] = field(default_factory=list)
    _areas: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    async def run(self, plan: Sequence[Strike]) -> None:
        """Until the last strike is over. Servers that it stopped run again."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as strikes:
            for strike in plan:
                await asyncio.sleep(began + strike.at_ms / 1000 - time.monotonic())
                strikes.create_task(self._strike(strike))

    async def _strike(self, strike: Strike) -> None:
        harm: Callable[[Strike], Awaitable[int | None]] = getattr(self, f"_{strike.fault}")
        async with self._areas[strike.area]:
            at_s = time.monotonic()
            try:
                self.struck.append(Struck(strike, at_s, await harm(strike)))
            except Missed as missed:
                self.struck.append(Struck(strike, at_s, missed=str(missed)))

    async def _kill_api(self, strike: Strike) -> int:
        process = _serving(self.rig.apis[strike.target])
        process.kill()
        return process.pid

    async def _kill_service(self, strike: Strike) -> int:
        service = self.rig.apis[strike.target]
        pid = await asyncio.to_thread(service.kill)
        await asyncio.sleep(strike.hold_ms / 1000)
        await asyncio.to_thread(service.start)
        return pid

    async def _kill_worker(self, _: Strike) -> int:
        pid = await asyncio.to_thread(self.rig.worker.kill)
        await asyncio.to_thread(self.rig.worker.start)
        return pid

    async def _kill_backend(self, _: Strike) -> int:
        try:
            row = await self.victims.fetch_one(_BACKEND)
        except Unavailable:
            raise Missed("PostgreSQL was recovering") from None
        if row is None:
            raise Missed("nobody was connected")
        pid = int(row["pid"])
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            raise Missed("the backend had just ended") from None
        return pid

    async def _crash_postgres(self, strike: Strike) -> int:
        pid = await self.rig.crash_postgres()
        await asyncio.sleep(strike.hold_ms / 1000)
        await self.rig.start_postgres()
        return pid

    async def _kill_valkey(self, strike: Strike) -> int:
        pid = await self.rig.kill_valkey()
        await asyncio.sleep(strike.hold_ms / 1000)
        await self.rig.start_valkey()
        return pid

    async def _flush_valkey(self, _: Strike) -> None:
        await self.rig.flush_valkey()

    async def _pause_postgres(self, strike: Strike) -> None:
        await self._pause(self.rig.postgres.pid, strike)

    async def _pause_valkey(self, strike: Strike) -> None:
        await self._pause(self.rig.valkey.pid, strike)

    async def _pause_api(self, strike: Strike) -> None:
        await self._pause(_serving(self.rig.apis[strike.target]).pid, strike)

    async def _slow_postgres(self, strike: Strike) -> None:
        await _slow(self.rig.postgres_proxy, strike)

    async def _slow_valkey(self, strike: Strike) -> None:
        await _slow(self.rig.valkey_proxy, strike)

    async def _reset_postgres(self, _: Strike) -> None:
        self.rig.postgres_proxy.reset()

    async def _reset_valkey(self, _: Strike) -> None:
        self.rig.valkey_proxy.reset()

    async def _black_hole_postgres(self, strike: Strike) -> None:
        await _hide(self.rig.postgres_proxy, strike)

    async def _black_hole_valkey(self, strike: Strike) -> None:
        await _hide(self.rig.valkey_proxy, strike)

    async def _tear_commit(self, _: Strike) -> None:
        proxy = self.rig.postgres_proxy
        trap = proxy.trap = Trap("answer", _POSTED, "tear", TORN)
        await _until(lambda: trap.sprung == TORN)
        proxy.trap = None
        if not trap.sprung:
            raise Missed("no COMMIT was answered")

    async def _cut_clients(self, _: Strike) -> None:
        before = self.crowd.cuts
        self.crowd.cuts_due = CUTS
        await _until(lambda: self.crowd.cuts_due == 0)
        self.crowd.cuts_due = 0
        if self.crowd.cuts == before:
            raise Missed("no money was answered")

    async def _pause(self, pid: int, strike: Strike) -> None:
        stopped = self.rig.pause(pid)
        if not stopped:
            raise Missed("it had just ended")
        try:
            await asyncio.sleep(strike.hold_ms / 1000)
        finally:
            self.rig.resume(stopped)


def unable() -> set[Fault]:
    """Kinds without a method: a test says that there is none."""
    return {fault for fault in Fault if not hasattr(Nemesis, f"_{fault}")}


def _serving(service: Service) -> psutil.Process:
    found = service.serving()
    if not found:
        raise Missed("it was being replaced")
    return found[0]


async def _slow(proxy: Proxy, strike: Strike) -> None:
    proxy.delay_s = LATENCY_S
    try:
        await asyncio.sleep(strike.hold_ms / 1000)
    finally:
        proxy.delay_s = 0.0


async def _hide(proxy: Proxy, strike: Strike) -> None:
    proxy.hole = True
    try:
        await asyncio.sleep(strike.hold_ms / 1000)
    finally:
        proxy.hole = False


async def _until(done: Callable[[], bool]) -> None:
    until = time.monotonic() + TRAP_LIMIT_S
    while not done() and time.monotonic() < until:
        await asyncio.sleep(_POLL_S)
