"""One run, from nothing to a verdict."""

import asyncio
import gc
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from finpay.db.pool import Database
from finpay.dev.data_dir import remove_data_dir
from torture import fault_plan, ledger_snapshot, setup
from torture.checker import judge
from torture.cluster import Rig
from torture.evidence import gather
from torture.fault_plan import Fault
from torture.history import Journal
from torture.liveness import Liveness, window
from torture.load import THINK_S, Crowd
from torture.nemesis import Nemesis
from torture.readiness import await_ready
from torture.receiver import Receiver
from torture.report import Report

# The journal only grows: going through all of it would hold up the proxies, which live here too.
GC_THRESHOLDS: Final = (50_000, 50, 1_000)
WARM_S: Final = 5.0  # connections, plans and caches are made
WINDOW_S: Final = 12.0  # of load, before the faults and after: some 2 000 requests
START_LIMIT_S: Final = 30.0  # a slow machine's first start
READY_LIMIT_S: Final = 10.0  # the promise: /readyz after healing
CALM_S: Final = 10.0  # after healing it is as it was before


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is made of. `minutes` of faults; all else takes about one more."""

    seed: int
    minutes: float
    every_ms: int = fault_plan.EVERY_MS
    faults: Collection[Fault] = tuple(Fault)
    window_s: float = WINDOW_S
    think_s: float = THINK_S


@dataclass(slots=True)
class Stage:
    """What every phase of a run needs."""

    rig: Rig
    database: Database  # straight to PostgreSQL, with the owner's rights
    journal: Journal
    receiver: Receiver
    say: Callable[[str], None]
    crowd: Crowd = field(init=False)
    watch: ledger_snapshot.Watch = field(init=False)


def run(options: Options, say: Callable[[str], None]) -> Report:
    """`torture` in a loop of its own, which SIGTERM ends as Ctrl-C does: nothing stays running."""

    async def main() -> Report:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  for the type checker
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        gc.set_threshold(*GC_THRESHOLDS)
        return await torture(options, say)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def torture(options: Options, say: Callable[[str], None]) -> Report:
    """Runs and judges. DevError, MigrationError or NotReady where it could not begin.

    `say` hears of each phase. The folder with journal and logs stays if anything was found.
    """
    strikes = fault_plan.draw(
        options.seed, options.minutes, every_ms=options.every_ms, faults=options.faults
    )
    async with _stage(say) as stage:
        await _prepare(stage, options)
        nemesis = Nemesis(stage.rig, stage.crowd, stage.database)
        liveness = await _storm(stage, nemesis, strikes, options.window_s)
        evidence = await gather(stage)
        report = Report(
            seed=options.seed,
            minutes=options.minutes,
            strikes=tuple(nemesis.struck),
            counts=judge(evidence),
            liveness=liveness,
            journal=stage.journal,
            bank_reads=stage.watch.reads,
            deliveries=stage.receiver.deliveries,
            folder=stage.rig.folder,
        )
    if report.ok:
        _remove(report.folder)
    return report


@asynccontextmanager
async def _stage(say: Callable[[str], None]) -> AsyncIterator[Stage]:
    """The servers, for as long as the block lasts."""
    rig = Rig.make()
    journal = Journal(rig.folder / "journal.jsonl")
    receiver = Receiver()
    database: Database | None = None
    interrupted = False
    try:
        say(f"Starting PostgreSQL, Valkey, the API and the worker in {rig.folder} …")
        await rig.start()
        await receiver.open()
        database = Database(rig.owner_url, size=3, role=None)
        if not await await_ready(rig, START_LIMIT_S):
            raise setup.NotReady(f"the API was not ready; its logs are in {rig.folder}")
        yield Stage(rig, database, journal, receiver, say)
    except asyncio.CancelledError:
        interrupted = True
        raise
    finally:
        journal.close()
        await receiver.close()
        if database is not None:
            with suppress(Exception):
                await database.close()
        await rig.stop()
        if interrupted:
            _remove(rig.folder)


def _remove(folder: Path) -> None:
    remove_data_dir(folder / "servers")
    shutil.rmtree(folder, ignore_errors=True)


async def _prepare(stage: Stage, options: Options) -> None:
    ports = [api.port for api in stage.rig.apis]
    made = await setup.register(ports)
    for number, wallet in enumerate(made):
        await setup.listen(ports, wallet, stage.receiver.url(number))
    await setup.fund(stage.database, made)
    stage.crowd = Crowd(
        options.seed,
        made,
        ports,
        stage.journal,
        setup.TOTAL,
        think_s=options.think_s,
    )
    stage.watch = ledger_snapshot.Watch(stage.database, setup.TOTAL)


async def _storm(
    stage: Stage, nemesis: Nemesis, strikes: Sequence[fault_plan.Strike], window_s: float
) -> Liveness:
    """Load throughout: calm, the faults, healing, calm again."""
    watching = asyncio.create_task(stage.watch.run())
    clients = asyncio.create_task(stage.crowd.run())
    try:
        stage.say("Load without faults …")
        await asyncio.sleep(WARM_S)
        began_s = time.monotonic()
        await asyncio.sleep(window_s)
        stage.say(f"{len(strikes)} faults …")
        await nemesis.run(strikes)
        stage.say("Healing …")
        await stage.rig.heal()
        healed_s = time.monotonic()
        ready = await await_ready(stage.rig, READY_LIMIT_S)
        ready_s = time.monotonic() - healed_s if ready else None
        await asyncio.sleep(max(0, healed_s + CALM_S - time.monotonic()))
        calm_s = time.monotonic()
        await asyncio.sleep(window_s)
        stage.crowd.stop()
        await clients
        samples = stage.journal.samples
        return Liveness(
            window(samples, began_s, began_s + window_s),
            window(samples, calm_s, calm_s + window_s),
            ready_s,
        )
    finally:
        for task in (watching, clients):
            task.cancel()
        await asyncio.gather(watching, clients, return_exceptions=True)
