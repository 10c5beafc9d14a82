"""`finpay worker`: the composition root of the process that delivers webhooks; beside that it
proves the ledger while money moves, and forgets refresh tokens that expired.

Any number of them may run, on any machines; PostgreSQL is all that they share.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Final

import uvloop

from finpay.app import instrumentation, preflight
from finpay.db.listener import Listener
from finpay.db.pool import Database, Unavailable
from finpay.identity import cleanup
from finpay.ledger import continuous_verification
from finpay.settings import Settings
from finpay.telemetry import logs, metrics, tracing
from finpay.webhooks.notifier import CHANNEL
from finpay.webhooks.status_server import StatusServer
from finpay.webhooks.worker import CONNECTIONS, RunSummary, Worker

LOOK_S: Final = 5.0  # how soon a worker notices that another one no longer checks the ledger
RETRY_PAUSE_S: Final = 1.0  # PostgreSQL may come later than we do

_LOG: Final = logs.get()


def work(settings: Settings, *, once: bool) -> RunSummary:
    """Delivers until a signal comes; `once`: until nothing is due.

    StartupRefused if the database lacks a migration or the login is refused; with `once` also
    Unavailable if there is no PostgreSQL to ask.
    """
    logs.configure(settings.log_level)
    metrics.PROCESSES.labels("worker").set(1)
    return uvloop.run(_work(settings, once=once))


async def _work(settings: Settings, *, once: bool) -> RunSummary:
    # What a worker notes down only saves a repetition, and may not take the disk from payments.
    database = Database(settings.database_url, size=CONNECTIONS, durable=False)
    pulse = Database(settings.database_url, size=1)
    tracer = tracing.start("finpay-worker")
    worker = Worker(database, pulse, settings, instrumentation.components(tracer).sender)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    window = StatusServer(
        settings, lambda: worker.is_ready, os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    )
    listener = Listener(settings.database_url, CHANNEL, worker.wake)
    other = Database(settings.database_url, size=2)  # one for each that goes on beside
    beside: list[asyncio.Task[None]] = []
    try:
        await _open(window)
        await _first_contact(pulse, worker, settings, once=once)
        listener.start()
        if not once:
            beside = [asyncio.create_task(each) for each in _beside(other, settings)]
        return await worker.run(once=once)
    finally:
        window.close()
        for each in beside:
            each.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await listener.close()
        await asyncio.gather(database.close(), pulse.close(), other.close())
        if tracer is not None:
            tracer.close()


def _beside(database: Database, settings: Settings) -> Iterator[Coroutine[None, None, None]]:
    """What a worker does beside its deliveries."""
    every_s = settings.integrity_interval_s
    if every_s:
        yield _forever(partial(_prove, database, every_s), min(every_s, LOOK_S))
    forget = partial(cleanup.prune, database, access_ttl_s=settings.access_token_ttl_s)
    yield _forever(forget, cleanup.PAUSE_S)


async def _prove(database: Database, every_s: int) -> None:
    """The continuous check of the ledger: whoever of all workers comes first when it is due."""
    await continuous_verification.check(database, every_s=every_s)
    await continuous_verification.look(database)


async def _forever(work: Callable[[], Awaitable[object]], pause_s: float) -> None:
    while True:
        try:
            await work()
        except Unavailable:
            _LOG.warning("postgres_away")
        except Exception:  # noqa: BLE001  the deliveries go on
            _LOG.exception("bug")
        await asyncio.sleep(pause_s)


async def _open(window: StatusServer) -> None:
    try:
        await window.open()
    except OSError as error:
        raise preflight.StartupRefused(
            f"can't listen on FINPAY_WORKER_PORT ({error.strerror}); set it to a free one"
        ) from error


async def _first_contact(
    database: Database, worker: Worker, settings: Settings, *, once: bool
) -> None:
    """Waits for PostgreSQL, and checks whether this release may run on it."""
    while not worker.stopping:
        try:
            await preflight.check(database, settings)
        except Unavailable as error:
            if once:
                raise
            _LOG.warning("postgres_unavailable", reason=str(error.__cause__ or error))
            await asyncio.sleep(RETRY_PAUSE_S)
            continue
        return
