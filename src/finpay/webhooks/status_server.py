"""The worker's own HTTP port: /livez, /readyz and /metrics, where FINPAY_WORKER_PORT is set."""

import hmac
from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from finpay.settings import Settings
from finpay.telemetry import metrics

SHUTDOWN_S: Final = 1.0  # for answers that are being sent when the worker ends
_NO_STORE: Final = {"Cache-Control": "no-store"}


class StatusServer:
    """Opened with `open`. `ready` returns whether the worker reaches PostgreSQL."""

    def __init__(
        self, settings: Settings, ready: Callable[[], bool], metrics_folder: str | None
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._metrics_folder = metrics_folder
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """OSError if the port is taken."""
        if not self._settings.worker_port:
            return
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        if not (self._settings.production and self._settings.metrics_token is None):
            app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._settings.host, self._settings.worker_port).start()

    async def close(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers=_NO_STORE)

    async def _readyz(self, _: web.Request) -> web.Response:
        ready = self._ready()
        return web.json_response(
            {"status": "ok" if ready else "down"}, status=200 if ready else 503, headers=_NO_STORE
        )

    async def _metrics(self, request: web.Request) -> web.Response:
        token = self._settings.metrics_token
        given = request.headers.get("Authorization", "")
        if token is not None and not hmac.compare_digest(
            given.encode("utf-8", "surrogateescape"), f"Bearer {token}".encode()
        ):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        body = metrics.exposition(self._metrics_folder)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST, **_NO_STORE})
