"""Composition of an API process: builds the parts, opens them, closes them in order."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from finpay import settings
from finpay.app import instrumentation, preflight
from finpay.db.pool import Database
from finpay.edge import openapi
from finpay.edge.application import Application
from finpay.edge.health_monitor import HealthMonitor, PreflightRefused
from finpay.edge.schemas.problems import refusal_templates
from finpay.edge.services import Services
from finpay.identity.access_tokens import Signer
from finpay.identity.breached_passwords import BreachedPasswords
from finpay.identity.passwords import Hasher
from finpay.identity.request_log import RequestLog
from finpay.identity.users import Identity
from finpay.ledger.batched_reads import BatchedReads
from finpay.ledger.batcher import CONNECTIONS, LOCK_TIMEOUT_MS, Batcher
from finpay.operators.overview import CachedOverview
from finpay.settings import Settings
from finpay.statements.pdf import PdfMaker
from finpay.statements.reads import StatementReads
from finpay.telemetry import logs, metrics, tracing
from finpay.webhooks.notifier import Notifier
from finpay.webhooks.ssrf.url_policy import EndpointUrls

CLOSE_LIMIT_S: Final = 8.0  # longer than the deadline of a batch, the slowest part to close
GC_THRESHOLD: Final = 50_000  # requests make few reference cycles
READ_POOL_SIZE: Final = 8  # connections for everything but the batches, per process
OPERATOR_POOL_SIZE: Final = 2  # per process; people act seldom

Refused = Callable[[str], None]


def create_application() -> Application:
    """The ASGI application, configured by the environment. A factory for any ASGI server."""
    read = settings.read()
    logs.configure(read.log_level)
    return application(read, _log_and_stop)


def application(read: Settings, on_refused: Refused) -> Application:
    """`on_refused` is called with the reason when this release may not run on the database."""
    metrics.PROCESSES.labels("api").set(1)
    tracer = tracing.start("finpay-api")
    components = instrumentation.components(tracer)
    return Application(
        partial(_open_services, read, components, on_refused), components.request_handler
    )


@asynccontextmanager
async def _open_services(
    read: Settings, components: instrumentation.Components, on_refused: Refused
) -> AsyncIterator[Services]:
    make = partial(components.database, read.database_url, session_settings=read.session_settings)
    database = make(size=READ_POOL_SIZE)
    ledger = _batch_pool(read, make)
    health_pool = Database(read.database_url, size=1)
    background_pool = Database(read.database_url, size=1)
    notifier, operators = Notifier(background_pool), _operators(read)
    identity = _identity(read, database)
    gate = components.gate(read, identity.confirm)
    preflight_check = partial(_preflight, health_pool, operators, read, on_refused)
    health = HealthMonitor(health_pool, gate, preflight_check)
    metrics_folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    services = Services(
        settings=read,
        database=database,
        batcher=_batcher(read, ledger, notifier, components),
        reads=BatchedReads(database, components.read_observer),
        statements=StatementReads(database),
        pdf=PdfMaker(metrics_folder),
        operators=operators,
        overview=CachedOverview(database),
        notifier=notifier,
        endpoint_urls=EndpointUrls(read),
        identity=identity,
        request_log=RequestLog(background_pool),
        gate=gate,
        health=health,
        openapi=openapi.encoded(),
        metrics_folder=metrics_folder,
    )
    async with AsyncExitStack() as stack:
        stack.callback(components.close)
        stack.callback(identity.close)
        for pool in filter(None, (database, ledger, health_pool, background_pool, operators)):
            stack.push_async_callback(pool.close)
        await gate.start()
        stack.push_async_callback(gate.close)
        await health.start()
        stack.push_async_callback(health.close)
        stack.push_async_callback(notifier.close)
        await stack.enter_async_context(services.request_log)
        stack.push_async_callback(services.batcher.drain)
        _tune_garbage_collection()
        yield services
        await _close(stack)


def _batcher(
    read: Settings, ledger: Database, notifier: Notifier, components: instrumentation.Components
) -> Batcher:
    return Batcher(
        ledger,
        refusal_templates(),
        notifier.notify,
        components.transfer_observer,
        read.public_url,
    )


def _identity(read: Settings, database: Database) -> Identity:
    return Identity(
        database,
        Hasher(max(1, (os.cpu_count() or 1) // read.workers)),
        Signer(read.jwt_secrets, read.access_token_ttl_s),
        refresh_ttl_s=read.refresh_token_ttl_s,
        limits=read.limits_of,
        breached=BreachedPasswords(read.breached_passwords),
    )


def _batch_pool(read: Settings, make: Callable[..., Database]) -> Database:
    """The batcher's connections: one plan for its one statement, whatever its arguments are."""
    one_plan = {"plan_cache_mode": "force_generic_plan"}
    return make(
        size=CONNECTIONS,
        lock_timeout_ms=LOCK_TIMEOUT_MS,
        session_settings=read.session_settings | one_plan,
    )


def _operators(read: Settings) -> Database | None:
    """Connections of the routes of operators, as the one role that may execute what they do."""
    if read.operator_url is None:
        return None
    return Database(read.operator_url, size=OPERATOR_POOL_SIZE, role="finpay_operator")


async def _close(stack: AsyncExitStack) -> None:
    try:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await stack.aclose()
    except TimeoutError:
        logs.get().warning("shutdown_timed_out")


def _tune_garbage_collection() -> None:
    """Objects made at start stay: collecting them again and again costs 4 % of a transfer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


async def _preflight(
    database: Database, operators: Database | None, read: Settings, on_refused: Refused
) -> None:
    try:
        await preflight.check(database, read)
        if operators is not None:
            await preflight.check_operators(operators)
    except preflight.StartupRefused as refused:
        on_refused(str(refused))
        raise PreflightRefused from refused


def _log_and_stop(reason: str) -> None:
    """Under another ASGI server; `finpay serve` logs the refusal of its first worker."""
    logs.get().error("startup_refused", reason=reason)
    signal.raise_signal(signal.SIGTERM)
