"""A TCP proxy before PostgreSQL or Valkey: it hands bytes on, late, not at all, or cuts the line.

It lives in a thread with a loop of its own, so that a test may hold it in any way it likes.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES: Final = 64 * 1024
HOLD_POLL_S: Final = 0.01
START_LIMIT_S: Final = 5.0

Way = Literal["request", "answer"]
Action = Literal["cut", "hang"]
# SO_LINGER with 0 seconds: close() sends a reset, as a crashed machine's successor would.
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Trap:
    """Springs on the next `times` chunks that contain `marker` and go this `way`.

    The chunk vanishes. `cut` then resets both ends; `hang` lets the connection stand, mute.
    `then` is called at that moment, in the proxy's thread.
    """

    way: Way
    marker: bytes
    action: Action
    times: int
    then: Callable[[], None]
    sprung: int = 0
    _event: threading.Event = field(default_factory=threading.Event)

    def wait(self, limit_s: float = 10.0) -> None:
        """Until it has sprung once."""
        assert self._event.wait(limit_s), f"nothing with {self.marker!r} came by"

    def matches(self, way: Way, chunk: bytes) -> bool:
        return self.way == way and self.sprung < self.times and self.marker in chunk

    def spring(self) -> None:
        self.sprung += 1
        self.then()
        self._event.set()


class Proxy:
    """In front of one server. `delay_s` holds back answers, `mute` swallows them all."""

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.delay_s = 0.0
        self.mute = False
        self.trap: Trap | None = None
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._lines: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def set_trap(
        self,
        way: Way,
        marker: bytes,
        action: Action,
        *,
        times: int = 1,
        then: Callable[[], None] = lambda: None,
    ) -> Trap:
        self.trap = Trap(way, marker, action, times, then)
        return self.trap

    def cut(self) -> None:
        """Resets every connection; new ones are welcome."""
        self._loop.call_soon_threadsafe(self._cut)

    def start(self) -> None:
        ready = threading.Event()
        self._loop.call_soon(lambda: self._loop.create_task(self._listen(ready)))
        self._thread.start()
        assert ready.wait(START_LIMIT_S)

    def stop(self) -> None:
        def end() -> None:
            self._cut()
            self._loop.call_later(HOLD_POLL_S, self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    async def _listen(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await server.serve_forever()

    async def _carry(
        self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter
    ) -> None:
        try:
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            _reset(client_out)
            return
        pair = {client_out, server_out}
        self._lines |= pair
        ways = [
            asyncio.ensure_future(self._hand_on("request", client_in, server_out, pair)),
            asyncio.ensure_future(self._hand_on("answer", server_in, client_out, pair)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for writer in pair:
                self._lines.discard(writer)
                writer.close()

    async def _hand_on(
        self,
        way: Way,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        pair: set[asyncio.StreamWriter],
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK_BYTES):
                trap = self.trap
                if trap is not None and trap.matches(way, chunk):
                    trap.spring()
                    if trap.action == "hang":
                        await asyncio.Event().wait()
                    for writer in pair:
                        _reset(writer)
                    return
                if way == "answer":
                    if self.delay_s:
                        await asyncio.sleep(self.delay_s)
                    if self.mute:
                        continue
                target.write(chunk)
                await target.drain()

    def _cut(self) -> None:
        for writer in list(self._lines):
            _reset(writer)


@contextmanager
def proxy_before(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the server of `url`, and the URL that leads through it."""
    parts = urlsplit(url)
    assert parts.port is not None
    proxy = Proxy(parts.port)
    proxy.start()
    login = f"{parts.username}@" if parts.username else ""
    try:
        yield proxy, urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{proxy.port}"))
    finally:
        proxy.stop()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
