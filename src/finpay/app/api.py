"""Composition of an API process: builds the parts, opens them, closes them in order."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

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
from finpay.settings import read as read_settings
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
    settings = read_settings()
    logs.configure(settings.log_level)
    return application(settings, _log_and_stop)


def application(settings: Settings, on_refused: Refused) -> Application:
    """`on_refused` is called with the reason when this release may not run on the database."""
    metrics.PROCESSES.labels("api").set(1)
    tracer = tracing.start("finpay-api")
    components = instrumentation.components(tracer)
    return Application(
        partial(_open_services, settings, components, on_refused), components.request_handler
    )


@asynccontextmanager
async def _open_services(
    settings: Settings, components: instrumentation.Components, on_refused: Refused
) -> AsyncIterator[Services]:
    make = partial(
        components.database, settings.database_url, session_settings=settings.session_settings
    )
    database = make(size=READ_POOL_SIZE)
    ledger = _batch_pool(settings, make)
    health_pool = Database(settings.database_url, size=1)
    background_pool = Database(settings.database_url, size=1)
    notifier, operators = Notifier(background_pool), _operators(settings)
    identity = _identity(settings, database)
    gate = components.gate(settings, identity.confirm)
    preflight_check = partial(_preflight, health_pool, operators, settings, on_refused)
    health = HealthMonitor(health_pool, gate, preflight_check)
    metrics_folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    services = Services(
        settings=settings,
        database=database,
        batcher=_batcher(settings, ledger, notifier, components),
        reads=BatchedReads(database, components.read_observer),
        statements=StatementReads(database),
        pdf=PdfMaker(metrics_folder),
        operators=operators,
        overview=CachedOverview(database),
        notifier=notifier,
        endpoint_urls=EndpointUrls(settings),
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
    settings: Settings,
    ledger: Database,
    notifier: Notifier,
    components: instrumentation.Components,
) -> Batcher:
    return Batcher(
        ledger,
        refusal_templates(),
        notifier.notify,
        components.transfer_observer,
        settings.public_url,
    )


def _identity(settings: Settings, database: Database) -> Identity:
    return Identity(
        database,
        Hasher(max(1, (os.cpu_count() or 1) // settings.workers)),
        Signer(settings.jwt_secrets, settings.access_token_ttl_s),
        refresh_ttl_s=settings.refresh_token_ttl_s,
        limits=settings.limits_of,
        breached=BreachedPasswords(settings.breached_passwords),
    )


def _batch_pool(settings: Settings, make: Callable[..., Database]) -> Database:
    """The batcher's connections: one plan for its one statement, whatever its arguments are."""
    one_plan = {"plan_cache_mode": "force_generic_plan"}
    return make(
        size=CONNECTIONS,
        lock_timeout_ms=LOCK_TIMEOUT_MS,
        session_settings=settings.session_settings | one_plan,
    )


def _operators(settings: Settings) -> Database | None:
    """Connections of the routes of operators, as the one role that may execute what they do."""
    if settings.operator_url is None:
        return None
    return Database(settings.operator_url, size=OPERATOR_POOL_SIZE, role="finpay_operator")


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
    database: Database, operators: Database | None, settings: Settings, on_refused: Refused
) -> None:
    try:
        await preflight.check(database, settings)
        if operators is not None:
            await preflight.check_operators(operators)
    except preflight.StartupRefused as refused:
        on_refused(str(refused))
        raise PreflightRefused from refused


def _log_and_stop(reason: str) -> None:
    """Under another ASGI server; `finpay serve` logs the refusal of its first worker."""
    logs.get().error("startup_refused", reason=reason)
    signal.raise_signal(signal.SIGTERM)
