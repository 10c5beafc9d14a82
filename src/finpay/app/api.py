"""Composition of an API process: builds the parts, opens them, closes them in order."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from finpay.app import instrumentation, preflight
from finpay.db.pool import Check, Database, Executor
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


class _Pools:
    """The connections of a process, by their use. `check` runs on new ones that answer requests.

    Those of the batcher have one plan for its one statement, whatever its arguments are. Those of
    the routes of operators have the one role that may execute what they do.
    """

    def __init__(
        self, settings: Settings, components: instrumentation.Components, check: Check
    ) -> None:
        url, session = settings.database_url, settings.session_settings
        make = partial(components.database, url, check=check)
        self.requests: Database = make(size=READ_POOL_SIZE, session_settings=session)
        self.ledger: Database = make(
            size=CONNECTIONS,
            lock_timeout_ms=LOCK_TIMEOUT_MS,
            session_settings=session | {"plan_cache_mode": "force_generic_plan"},
        )
        self.health = Database(url, size=1)
        self.background = Database(url, size=1)
        self.operators: Database | None = None
        if settings.operator_url is not None:
            self.operators = Database(
                settings.operator_url, size=OPERATOR_POOL_SIZE, role="finpay_operator", check=check
            )

    def __iter__(self) -> Iterator[Database]:
        pools = (self.requests, self.ledger, self.health, self.background, self.operators)
        return filter(None, pools)


@asynccontextmanager
async def _open_services(
    settings: Settings, components: instrumentation.Components, on_refused: Refused
) -> AsyncIterator[Services]:
    async def check(connection: Executor) -> None:
        await health.check_connection(connection)

    pools = _Pools(settings, components, check)
    database, notifier = pools.requests, Notifier(pools.background)
    identity = _identity(settings, database)
    gate = components.gate(settings, identity.confirm)
    preflight_check = partial(_preflight, pools.health, pools.operators, settings, on_refused)
    health = HealthMonitor(pools.health, gate, preflight_check)
    metrics_folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    services = Services(
        settings=settings,
        database=database,
        batcher=_batcher(settings, pools.ledger, notifier, components),
        reads=BatchedReads(database, components.read_observer),
        statements=StatementReads(database),
        pdf=PdfMaker(metrics_folder),
        operators=pools.operators,
        overview=CachedOverview(database),
        notifier=notifier,
        endpoint_urls=EndpointUrls(settings),
        identity=identity,
        request_log=RequestLog(pools.background),
        gate=gate,
        health=health,
        openapi=openapi.encoded(),
        metrics_folder=metrics_folder,
    )
    async with AsyncExitStack() as stack:
        stack.callback(components.close)
        stack.callback(identity.close)
        for pool in pools:
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
