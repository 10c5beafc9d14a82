"""What an operator sees of a worker from outside: /metrics, /livez, /readyz, where a port is set.

The API answers these with its whole pipeline; a worker has no other use for HTTP, so a few lines
do: one request per connection, a short head, no body.
"""

import asyncio
import hmac
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from finpay.settings import Settings
from finpay.telemetry import metrics

HEAD_LIMIT_BYTES: Final = 8_192  # a scraper's head has a few hundred
PATIENCE_S: Final = 5.0  # for a head, and for its reader


class StatusServer:
    """Opened with `open`. `ready` says whether the worker reaches PostgreSQL."""

    def __init__(
        self, settings: Settings, ready: Callable[[], bool], metrics_folder: str | None
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._metrics_folder = metrics_folder
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """OSError if the port is taken."""
        if self._settings.worker_port:
            self._server = await asyncio.start_server(
                self._meet, self._settings.host, self._settings.worker_port, limit=HEAD_LIMIT_BYTES
            )

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(PATIENCE_S):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                writer.write(self._answer(head))
                await writer.drain()
        writer.close()

    def _answer(self, head: str) -> bytes:
        first, *lines = head.split("\r\n")
        path = first.partition(" ")[2].partition(" ")[0].partition("?")[0]
        if path == "/livez":
            return _reply(HTTPStatus.OK, b"ok\n")
        if path == "/readyz":
            ready = self._ready()
            return _reply(
                HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
                b'{"status":"ok"}' if ready else b'{"status":"down"}',
                "application/json",
            )
        if path == "/metrics" and not (self._settings.production and self._token is None):
            if not self._may_read(lines):
                return _reply(HTTPStatus.UNAUTHORIZED, b"", more="WWW-Authenticate: Bearer\r\n")
            body = metrics.exposition(self._metrics_folder)
            return _reply(HTTPStatus.OK, body, CONTENT_TYPE_LATEST)
        return _reply(HTTPStatus.NOT_FOUND, b"")

    @property
    def _token(self) -> str | None:
        return self._settings.metrics_token

    def _may_read(self, lines: list[str]) -> bool:
        if self._token is None:
            return True
        given = next((line for line in lines if line.lower().startswith("authorization:")), "")
        value = given.partition(":")[2].strip()
        return hmac.compare_digest(value.encode(), f"Bearer {self._token}".encode())


def _reply(status: HTTPStatus, body: bytes, kind: str = "text/plain", more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
