"""One run, from the first process to the report."""

import asyncio
import gc
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from finpay.db.pool import Database
from finpay.dev.data_dir import remove_data_dir
from torture import evidence, fault_plan, setup
from torture.checker import run_checks
from torture.cluster import Cluster
from torture.context import RunContext
from torture.deliveries import Deliveries
from torture.fault_plan import Fault, PlannedFault
from torture.history import History
from torture.ledger_snapshot import LedgerMonitor
from torture.liveness import Liveness, window
from torture.load import THINK_S, LoadClients
from torture.nemesis import Nemesis
from torture.report import Report

# The history only grows: a full collection would pause the proxies, which share the event loop.
GC_THRESHOLDS: Final = (50_000, 50, 1_000)
WARM_UP_S: Final = 5.0  # for connections, plans and caches
WINDOW_S: Final = 12.0  # of load, before the faults and after: some 2 000 requests
START_LIMIT_S: Final = 30.0  # a slow machine's first start
READY_LIMIT_S: Final = 10.0  # promised: /readyz after healing
RECOVERY_S: Final = 10.0  # promised: from healing to the service of before


@dataclass(frozen=True, slots=True)
class Options:
    """`minutes` of faults; all other phases take about one more."""

    seed: int
    minutes: float
    every_ms: int = fault_plan.EVERY_MS
    faults: Collection[Fault] = tuple(Fault)
    window_s: float = WINDOW_S
    think_s: float = THINK_S


def run(options: Options, progress: Callable[[str], None]) -> Report:
    """`torture` in its own event loop. SIGTERM ends it as Ctrl-C does, with all processes."""

    async def main() -> Report:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  for the type checker
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        gc.set_threshold(*GC_THRESHOLDS)
        return await torture(options, progress)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def torture(options: Options, progress: Callable[[str], None]) -> Report:
    """Runs and checks. DevError, MigrationError or NotReady when it could not begin.

    `progress` gets a line for each phase. The folder with history and logs stays after a failure.
    """
    plan = fault_plan.draw(
        options.seed, options.minutes, every_ms=options.every_ms, faults=options.faults
    )
    async with _started(progress) as context:
        await _prepare(context, options)
        nemesis = Nemesis(context.cluster, context.clients, context.database)
        liveness = await _inject(context, nemesis, plan, options.window_s)
        report = Report(
            seed=options.seed,
            minutes=options.minutes,
            faults=tuple(nemesis.injected),
            counts=run_checks(await evidence.collect(context)),
            liveness=liveness,
            history=context.history,
            ledger_reads=context.monitor.reads,
            deliveries=len(context.deliveries.requests),
            folder=context.cluster.folder,
        )
    if report.ok:
        _remove(report.folder)
    return report


@asynccontextmanager
async def _started(progress: Callable[[str], None]) -> AsyncIterator[RunContext]:
    """All servers, stopped at the end of the block."""
    cluster = Cluster()
    history = History(cluster.folder / "history.jsonl")
    deliveries = Deliveries()
    database: Database | None = None
    interrupted = False
    try:
        progress(f"Starting PostgreSQL, Valkey, the APIs and the worker in {cluster.folder} …")
        await deliveries.open()
        await cluster.start()
        database = Database(cluster.owner_url, size=3, role=None)
        if not await cluster.await_ready(START_LIMIT_S):
            raise setup.NotReady(f"the API was not ready; its logs are in {cluster.folder}")
        yield RunContext(cluster, database, history, deliveries, progress)
    except asyncio.CancelledError:
        interrupted = True
        raise
    finally:
        history.close()
        await deliveries.close()
        if database is not None:
            with suppress(Exception):
                await database.close()
        await cluster.stop()
        if interrupted:
            _remove(cluster.folder)


def _remove(folder: Path) -> None:
    remove_data_dir(folder / "servers")
    shutil.rmtree(folder, ignore_errors=True)


async def _prepare(context: RunContext, options: Options) -> None:
    ports = [api.port for api in context.cluster.apis]
    wallets = await setup.register(ports)
    for number, wallet in enumerate(wallets):
        await setup.subscribe(ports, wallet, context.deliveries.url_of(number))
    await setup.fund(context.database, wallets)
    operators = await setup.register_operators(context.database, ports)
    context.clients = LoadClients(
        options.seed,
        wallets,
        operators,
        ports,
        context.history,
        setup.TOTAL,
        think_s=options.think_s,
    )
    context.monitor = LedgerMonitor(context.database, setup.TOTAL)


async def _inject(
    context: RunContext, nemesis: Nemesis, plan: Sequence[PlannedFault], window_s: float
) -> Liveness:
    """Load throughout: a window without faults, the faults, healing, another window."""
    monitor = asyncio.create_task(context.monitor.run())
    clients = asyncio.create_task(context.clients.run())
    try:
        context.progress("Load without faults …")
        await asyncio.sleep(WARM_UP_S)
        before_s = time.monotonic()
        await asyncio.sleep(window_s)
        context.progress(f"{len(plan)} faults …")
        await nemesis.run(plan)
        context.progress("Healing …")
        await context.cluster.heal()
        healed_s = time.monotonic()
        ready = await context.cluster.await_ready(READY_LIMIT_S)
        ready_s = time.monotonic() - healed_s if ready else None
        await asyncio.sleep(max(0, healed_s + RECOVERY_S - time.monotonic()))
        after_s = time.monotonic()
        await asyncio.sleep(window_s)
        context.clients.stop()
        await clients
        samples = context.history.samples
        return Liveness(
            window(samples, before_s, before_s + window_s),
            window(samples, after_s, after_s + window_s),
            ready_s,
        )
    finally:
        for task in (monitor, clients):
            task.cancel()
        await asyncio.gather(monitor, clients, return_exceptions=True)
