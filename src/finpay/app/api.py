"""The composition root: the only place where parts are built and joined.

`application` is what uvicorn calls in each worker process; serving.py looks after the processes.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

from finpay import settings
from finpay.app import instrumentation
from finpay.db import migrate
from finpay.db.pool import AccessDenied, Database, Unavailable
from finpay.edge.graceful_shutdown import GracefulShutdown
from finpay.edge.health_monitor import HealthMonitor
from finpay.edge.pipeline import Pipeline
from finpay.edge.request.model import Request, RequestHandler
from finpay.edge.schemas.problems import refusal_templates
from finpay.edge.services import Services
from finpay.errors import Code
from finpay.identity.access_tokens import Signer
from finpay.identity.passwords import Hasher
from finpay.identity.users import Identity
from finpay.ledger.batcher import CONNECTIONS, LOCK_TIMEOUT_MS
from finpay.settings import Settings
from finpay.telemetry import logs, metrics, tracing
from finpay.webhooks.notifier import Notifier

CLOSE_LIMIT_S: Final = 8.0  # a batch has its deadline; nothing else may hold up the end
GC_THRESHOLD: Final = 50_000  # requests leave few cycles behind
READERS: Final = 8  # connections for everything but the batches, per process

_SAFE: Final = """
SELECT name FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
ORDER BY name
"""


_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


def application() -> "Application":
    """The ASGI application of one worker process, from its environment."""
    read = settings.read()
    logs.configure(read.log_level)
    metrics.PROCESSES.labels("api").set(1)
    return Application(read)


class Application:
    """Opens the parts when the server starts, closes them when it stops."""

    def __init__(self, read: Settings) -> None:
        self._settings = read
        self._services: Services | None = None
        self._pipeline: RequestHandler | None = None
        self._tracer: tracing.Tracer | None = None
        self._closing: list[Database] = []

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)

    async def respond(self, request: Request) -> bytes:
        """What edge/protocol.py calls: ASGI only tells of the start and the end."""
        assert self._pipeline is not None  # noqa: S101  nobody connects before the start is over
        return await self._pipeline.respond(request)

    def refuse(self, request: Request) -> bytes | None:
        """What edge/protocol.py asks first."""
        assert self._pipeline is not None  # noqa: S101  as above
        return self._pipeline.refuse(request)

    def refuse_unread(self, data: bytes) -> bytes | None:
        """What edge/protocol.py asks even before it reads."""
        assert self._pipeline is not None  # noqa: S101  as above
        return self._pipeline.refuse_unread(data)

    async def _live(self, receive: _Receive, send: _Send) -> None:
        await receive()
        try:
            await self._open()
        except Exception as error:
            self._give_up(f"could not start: {error!r}")
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> None:
        read = self._settings
        self._tracer = tracing.start("finpay-api")
        kit = instrumentation.kit(self._tracer)
        database = kit.database(read.database_url, size=READERS)
        ledger = kit.database(read.database_url, size=CONNECTIONS, lock_timeout_ms=LOCK_TIMEOUT_MS)
        watch = Database(read.database_url, size=1)
        bell = Database(read.database_url, size=1)
        self._closing = [database, ledger, watch, bell]
        waker = Notifier(bell)
        identity = Identity(
            database,
            Hasher(max(1, (os.cpu_count() or 1) // read.workers)),
            Signer(read.jwt_secrets, read.access_token_ttl_s),
            refresh_ttl_s=read.refresh_token_ttl_s,
            refresh_grace_s=read.refresh_grace_s,
        )
        gate = kit.gate(read, identity.is_session_active)
        await gate.start()
        probe = HealthMonitor(watch, gate, lambda: self._first_contact(watch))
        self._services = Services(
            settings=read,
            database=database,
            batcher=kit.batcher(ledger, refusal_templates(), waker.wake),
            reader=kit.reader(database),
            waker=waker,
            identity=identity,
            gate=gate,
            probe=probe,
            metrics_folder=os.environ.get("PROMETHEUS_MULTIPROC_DIR"),
        )
        self._pipeline = kit.responder(Pipeline(self._services))
        await probe.start()
        # What start-up built stays; collecting it again and again costs 4 % of a transfer.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        GracefulShutdown(probe).prepare()

    async def _close(self) -> None:
        services = self._services
        assert services is not None  # noqa: S101  opened before
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await services.batcher.drain()
                await services.waker.close()
                await services.probe.close()
                await services.gate.close()
                await asyncio.gather(*(database.close() for database in self._closing))
        except TimeoutError:
            logs.get().warning("closed_the_hard_way")
        services.identity.close()
        if self._tracer is not None:
            self._tracer.close()

    async def _first_contact(self, database: Database) -> None:
        """Ends the whole service with exit code 2 if it may not run on this database."""
        reason = await preflight(database, self._settings)
        if reason is not None:
            self._give_up(reason)
            raise Unavailable(Code.UNAVAILABLE, reason, may_have_run=False)

    def _give_up(self, reason: str) -> None:
        """Tells the supervisor why, and that it is to stop; without one, stops this process."""
        logs.get().error("unfit", reason=reason)
        supervisor = multiprocessing.parent_process()
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if supervisor is None or supervisor.pid is None or folder is None:
            signal.raise_signal(signal.SIGTERM)
            return
        Path(folder, settings.STARTUP_ERROR_FILE).write_text(reason, "utf-8")
        os.kill(supervisor.pid, signal.SIGTERM)


async def preflight(database: Database, read: Settings) -> str | None:
    """Why this release may not run on this database; None if it may."""
    try:
        absent = await migrate.missing(database)
    except AccessDenied as refused:
        return f"PostgreSQL refuses us ({refused.reason}): check the URL, or run finpay migrate"
    if absent:
        return f"the database lacks the migration {absent[0]}: run finpay migrate first"
    if read.production:
        rows = await database.fetch(_SAFE)
        if rows:
            names = ", ".join(row["name"] for row in rows)
            return f"PostgreSQL runs with {names} off, which can lose money: switch it on"
    return None
