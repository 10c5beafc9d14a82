"""`finpay worker`: the composition root of the process that works without requests.

It delivers webhooks, sends mails, runs schedules, expires holds and payment requests, raises
limits, verifies the ledger continuously and deletes expired rows. Any number of workers may run, on
any machines; they share only PostgreSQL.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

import uvloop

from finpay.app import instrumentation, preflight
from finpay.app.file_limit import raise_file_limit
from finpay.db.listener import Listener
from finpay.db.pool import Database, Unavailable
from finpay.edge.schemas.problems import refusal_templates
from finpay.errors import cause_of
from finpay.identity import cleanup, leaving
from finpay.ledger import (
    closing,
    continuous_verification,
    holds,
    limits,
    payment_requests,
    schedule_runner,
)
from finpay.ledger.batcher import LOCK_TIMEOUT_MS
from finpay.mail import retention, sender
from finpay.settings import Settings
from finpay.telemetry import logs, metrics, tracing
from finpay.webhooks.notifier import CHANNEL
from finpay.webhooks.status_server import StatusServer
from finpay.webhooks.worker import CONNECTIONS, RunSummary, Worker

JOB_CONNECTIONS: Final = 10  # one per background job; the runs of schedules have their own
VERIFY_POLL_S: Final = 5.0  # how soon a worker notices that no other one verifies the ledger
SCHEDULES_PAUSE_S: Final = 0.5  # between two checks for schedules that are due
EXPIRY_PAUSE_S: Final = 1.0  # between two checks for holds and payment requests that have expired
LIMITS_PAUSE_S: Final = 5.0  # between two checks for raised limits whose day is over
ERASURE_PAUSE_S: Final = 5.0  # between two checks for closed accounts to erase
EMAILS_PAUSE_S: Final = 3_600.0  # between two checks for addresses of people who left long ago
RETRY_PAUSE_S: Final = 1.0  # between attempts to reach PostgreSQL at the start
LOG_PAUSE_S: Final = 5.0  # between two lines of the log for the same reason

_LOG: Final = logs.get()


def work(settings: Settings, *, once: bool) -> RunSummary:
    """Delivers until SIGTERM or SIGINT; `once`: until no delivery is due.

    StartupRefused if the database lacks a migration or refuses the login; with `once` also
    Unavailable if PostgreSQL does not answer.
    """
    logs.configure(settings.log_level)
    metrics.PROCESSES.labels("worker").set(1)
    raise_file_limit()
    return uvloop.run(_run(settings, once=once))


async def _run(settings: Settings, *, once: bool) -> RunSummary:
    # A lost record only repeats a delivery: the worker must not compete with payments for fsync.
    database = Database(settings.database_url, size=CONNECTIONS, durable=False)
    heartbeat = Database(settings.database_url, size=1)
    make = partial(Database, settings.database_url, session_settings=settings.session_settings)
    jobs_database = make(size=JOB_CONNECTIONS)
    runs_database = make(size=1, lock_timeout_ms=LOCK_TIMEOUT_MS)
    tracer = tracing.start("finpay-worker")
    worker = Worker(database, heartbeat, settings, instrumentation.components(tracer).sender)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    status_server = StatusServer(
        settings, lambda: worker.is_ready, os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    )
    listener = Listener(settings.database_url, CHANNEL, worker.wake)
    jobs: list[asyncio.Task[None]] = []
    try:
        await _open(status_server)
        _log_start(settings)
        await _wait_for_postgres(heartbeat, worker, settings, once=once)
        listener.start()
        if not once:
            jobs = [
                asyncio.create_task(job)
                for job in _background_jobs(jobs_database, runs_database, settings, worker.wake)
            ]
        summary = await worker.run(once=once)
        _LOG.info("worker_stopped", delivered=summary.delivered, failed=summary.failed)
        return summary
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await asyncio.gather(status_server.close(), listener.close())
        await asyncio.gather(database.close(), heartbeat.close())
        await asyncio.gather(jobs_database.close(), runs_database.close())
        if tracer is not None:
            tracer.close()


def _log_start(settings: Settings) -> None:
    """Without the URL's user and password."""
    hosts = urlsplit(settings.database_url).netloc.rpartition("@")[2]
    _LOG.info(
        "worker_started",
        version=version("finpay"),
        concurrency=settings.webhook_concurrency,
        database_host=hosts,
        port=settings.worker_port,
    )


def _background_jobs(
    database: Database, runs_database: Database, settings: Settings, wake: Callable[[], None]
) -> Iterator[Coroutine[None, None, None]]:
    every_s = settings.integrity_interval_s
    if every_s:
        verify = partial(_verify_continuously, database, every_s)
        yield _every(min(every_s, VERIFY_POLL_S), verify)
    if sender.is_configured(settings):
        yield _every(sender.POLL_S, sender.Sender(database, settings).send_due)
    yield _every(SCHEDULES_PAUSE_S, partial(_run_schedules, runs_database, wake))
    yield _every(EXPIRY_PAUSE_S, partial(holds.expire, database, wake))
    yield _every(EXPIRY_PAUSE_S, partial(_expire_requests, database, settings.public_url, wake))
    yield _every(LIMITS_PAUSE_S, partial(limits.apply_pending, database))
    yield _every(ERASURE_PAUSE_S, partial(closing.erase, database))
    yield _every(EMAILS_PAUSE_S, partial(leaving.forget_emails, database))
    prune = partial(cleanup.prune, database, access_ttl_s=settings.access_token_ttl_s)
    yield _every(cleanup.PAUSE_S, prune)
    yield _every(cleanup.PAUSE_S, partial(cleanup.prune_requests, database))
    yield _every(retention.PAUSE_S, partial(retention.prune, database))


async def _run_schedules(database: Database, wake: Callable[[], None]) -> None:
    if await schedule_runner.run_due(database, refusal_templates()):
        wake()


async def _expire_requests(
    database: Database, public_url: str | None, wake: Callable[[], None]
) -> None:
    """Until a call finds fewer than it may end."""
    ended = payment_requests.EXPIRE_AT_ONCE
    while ended == payment_requests.EXPIRE_AT_ONCE:
        ended = await payment_requests.expire(database, public_url)
        if ended:
            wake()


async def _verify_continuously(database: Database, every_s: int) -> None:
    """Verifies if a check is due and no other worker has started it; then reads the state."""
    await continuous_verification.run_round(database, every_s=every_s)
    await continuous_verification.read_state(database)


async def _every(pause_s: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await work()
        except Unavailable as error:
            _LOG.warning("postgres_unavailable", reason=cause_of(error))
        except Exception:  # noqa: BLE001  the deliveries go on
            _LOG.exception("unhandled_exception")
        await asyncio.sleep(pause_s)


async def _open(status_server: StatusServer) -> None:
    try:
        await status_server.open()
    except OSError as error:
        raise preflight.StartupRefused(
            f"can't listen on FINPAY_WORKER_PORT ({error.strerror}); set it to a free one"
        ) from error


async def _wait_for_postgres(
    database: Database, worker: Worker, settings: Settings, *, once: bool
) -> None:
    """Returns when PostgreSQL answers and this release may run on it."""
    logged_s, logged_reason = 0.0, ""
    while not worker.stopping:
        try:
            await preflight.check(database, settings)
        except Unavailable as error:
            if once:
                raise
            reason = cause_of(error)
            if reason != logged_reason or time.monotonic() >= logged_s + LOG_PAUSE_S:
                logged_s, logged_reason = time.monotonic(), reason
                _LOG.warning("waiting_for_postgres", reason=reason)
            await asyncio.sleep(RETRY_PAUSE_S)
        else:
            return
