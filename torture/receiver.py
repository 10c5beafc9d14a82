"""The webhook receiver: keeps what it gets, answers 204, and never loses anything itself."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

MAX_BODY_BYTES: Final = 64 * 1024  # an event is below 20 kB
_DONE: Final = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


@dataclass(slots=True)
class Receiver:
    """One address per wallet: `url(3)` is where wallet 3 wants its events."""

    deliveries: int = 0
    delivered: set[tuple[int, str]] = field(default_factory=set)  # wallet, transaction
    strange: list[str] = field(default_factory=list)
    _bodies: dict[str, bytes] = field(default_factory=dict)  # the first one of each webhook-id
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def url(self, wallet: int) -> str:
        assert self._server is not None, "open it first"  # noqa: S101
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/wallets/{wallet}"

    async def drain(self, due: Iterable[tuple[int, str]], limit_s: float) -> None:
        """Until all that is due was delivered, or the time is over."""
        missing = set(due)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not missing <= self.delivered:
                    await asyncio.sleep(0.1)

    def keep(self, wallet: int, webhook_id: str, body: bytes) -> None:
        """One delivery. The same id has to bring the same bytes each time."""
        self.deliveries += 1
        if self._bodies.setdefault(webhook_id, body) != body:
            self.strange.append(f"{webhook_id} was delivered with two bodies")
        event: dict[str, Any] = msgspec.json.decode(body)
        told = event["data"]["object"]
        if str(event["type"]).startswith("transaction."):
            self.delivered.add((wallet, told["id"]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            while first := await reader.readline():
                wallet = int(first.split(b" ")[1].rpartition(b"/")[2])
                headers: dict[str, str] = {}
                while line := (await reader.readline()).strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                size = min(int(headers.get("content-length", "0")), MAX_BODY_BYTES)
                body = await reader.readexactly(size)
                self.keep(wallet, headers.get("webhook-id", ""), body)
                writer.write(_DONE)
                await writer.drain()
        writer.close()
