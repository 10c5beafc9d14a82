"""Injects the planned faults: each at its time, and never two on one server."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import psutil

from finpay.db.pool import Database, Unavailable
from finpay.dev.child_process import ChildProcess
from finpay.dev.stack import Service
from tests.support.processes import api_workers
from tests.support.tcp_proxy import TcpProxy
from torture.cluster import Cluster
from torture.fault_plan import KILLS, Fault, PlannedFault
from torture.load import LoadClients

LATENCY_S: Final = 2.0
CUTS_PER_FAULT: Final = 8  # responses that clients do not read
TORN_RESPONSES_PER_FAULT: Final = 3  # responses to a COMMIT that are cut
WAIT_LIMIT_S: Final = 1.0  # for the traffic that a fault needs
# In the response to a posted transfer, and in no other bytes that pass the proxy.
_POSTED: Final = b'"status":"completed"'
_POLL_S: Final = 0.02
# A backend of the API or the worker, preferably one that posts transfers.
_BACKEND: Final = """
SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'finpay%' AND pid <> pg_backend_pid()
ORDER BY query LIKE '%post_transfers%' DESC, state = 'active' DESC, query_start DESC LIMIT 1
"""


class NoTarget(Exception):
    """There was no process or traffic to harm."""


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """The result of a planned fault: the killed `pid`, or in `missed` why nothing was harmed."""

    planned: PlannedFault
    at_s: float
    pid: int | None = None
    missed: str = ""

    @property
    def killed(self) -> bool:
        return self.planned.fault in KILLS and not self.missed


@dataclass(slots=True)
class Nemesis:
    """`admin_database` reaches PostgreSQL without the proxy, to find its processes."""

    cluster: Cluster
    clients: LoadClients
    admin_database: Database
    injected: list[InjectedFault] = field(default_factory=list)
    _servers: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    async def run(self, plan: Sequence[PlannedFault]) -> None:
        """Until the last fault is over. Servers that it stopped run again."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as faults:
            for planned in plan:
                await asyncio.sleep(began + planned.at_ms / 1000 - time.monotonic())
                faults.create_task(self._inject(planned))

    async def _inject(self, planned: PlannedFault) -> None:
        inject: Callable[[PlannedFault], Awaitable[int | None]] = getattr(self, f"_{planned.fault}")
        async with self._servers[planned.server]:
            at_s = time.monotonic()
            try:
                self.injected.append(InjectedFault(planned, at_s, await inject(planned)))
            except NoTarget as reason:
                self.injected.append(InjectedFault(planned, at_s, missed=str(reason)))

    async def _kill_api(self, planned: PlannedFault) -> int:
        process = _api_worker(self.cluster.apis[planned.target])
        process.kill()
        return process.pid

    async def _kill_service(self, planned: PlannedFault) -> int:
        return await _kill_and_start(self.cluster.apis[planned.target], planned)

    async def _kill_worker(self, planned: PlannedFault) -> int:
        return await _kill_and_start(self.cluster.worker, planned)

    async def _kill_backend(self, _: PlannedFault) -> int:
        try:
            row = await self.admin_database.fetch_one(_BACKEND)
        except Unavailable:
            raise NoTarget("PostgreSQL was recovering") from None
        if row is None:
            raise NoTarget("FinPay had no connection")
        pid = int(row["pid"])
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            raise NoTarget("the backend had just exited") from None
        return pid

    async def _crash_postgres(self, planned: PlannedFault) -> int:
        pid = await self.cluster.crash_postgres()
        await asyncio.sleep(planned.duration_ms / 1000)
        await asyncio.to_thread(self.cluster.postgres.start)
        return pid

    async def _kill_valkey(self, planned: PlannedFault) -> int:
        return await _kill_and_start(self.cluster.valkey, planned)

    async def _flush_valkey(self, _: PlannedFault) -> None:
        await self.cluster.flush_valkey()

    async def _pause_postgres(self, planned: PlannedFault) -> None:
        await self._pause(self.cluster.postgres.pid, planned)

    async def _pause_valkey(self, planned: PlannedFault) -> None:
        await self._pause(self.cluster.valkey.pid, planned)

    async def _pause_api(self, planned: PlannedFault) -> None:
        await self._pause(_api_worker(self.cluster.apis[planned.target]).pid, planned)

    async def _slow_postgres(self, planned: PlannedFault) -> None:
        await _delay_responses(self.cluster.postgres_proxy, planned)

    async def _slow_valkey(self, planned: PlannedFault) -> None:
        await _delay_responses(self.cluster.valkey_proxy, planned)

    async def _reset_postgres(self, _: PlannedFault) -> None:
        self.cluster.postgres_proxy.reset_connections()

    async def _reset_valkey(self, _: PlannedFault) -> None:
        self.cluster.valkey_proxy.reset_connections()

    async def _black_hole_postgres(self, planned: PlannedFault) -> None:
        await _black_hole(self.cluster.postgres_proxy, planned)

    async def _black_hole_valkey(self, planned: PlannedFault) -> None:
        await _black_hole(self.cluster.valkey_proxy, planned)

    async def _tear_commit(self, _: PlannedFault) -> None:
        proxy = self.cluster.postgres_proxy
        trap = proxy.set_trap("response", _POSTED, "tear", times=TORN_RESPONSES_PER_FAULT)
        await _wait_briefly(lambda: trap.sprung == TORN_RESPONSES_PER_FAULT)
        proxy.trap = None
        if not trap.sprung:
            raise NoTarget("no COMMIT was answered")

    async def _cut_clients(self, _: PlannedFault) -> None:
        before = self.clients.cuts
        self.clients.cuts_due = CUTS_PER_FAULT
        await _wait_briefly(lambda: self.clients.cuts_due == 0)
        self.clients.cuts_due = 0
        if self.clients.cuts == before:
            raise NoTarget("no money request was answered")

    async def _pause(self, pid: int, planned: PlannedFault) -> None:
        paused = self.cluster.pause(pid)
        if not paused:
            raise NoTarget("it had just exited")
        try:
            await asyncio.sleep(planned.duration_ms / 1000)
        finally:
            self.cluster.resume(paused)


def without_method() -> set[Fault]:
    """Kinds that the nemesis can't inject; a test asserts that there are none."""
    return {fault for fault in Fault if not hasattr(Nemesis, f"_{fault}")}


def _api_worker(api: Service) -> psutil.Process:
    found = api_workers(api.pid)
    if not found:
        raise NoTarget("its supervisor was replacing it")
    return found[0]


async def _kill_and_start(server: ChildProcess, planned: PlannedFault) -> int:
    pid = server.pid
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(planned.duration_ms / 1000)
    await asyncio.to_thread(server.start)
    return pid


async def _delay_responses(proxy: TcpProxy, planned: PlannedFault) -> None:
    proxy.response_delay_s = LATENCY_S
    try:
        await asyncio.sleep(planned.duration_ms / 1000)
    finally:
        proxy.response_delay_s = 0.0


async def _black_hole(proxy: TcpProxy, planned: PlannedFault) -> None:
    proxy.start_black_hole()
    try:
        await asyncio.sleep(planned.duration_ms / 1000)
    finally:
        proxy.end_black_hole()


async def _wait_briefly(done: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_LIMIT_S
    while not done() and time.monotonic() < until:
        await asyncio.sleep(_POLL_S)
