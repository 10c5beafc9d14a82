"""A TCP proxy before a server: it forwards, delays or drops bytes, and breaks connections."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

from tests.support.loop_thread import served_in_thread

CHUNK_BYTES: Final = 64 * 1024
RESET_FLUSH_S: Final = 0.01  # for resets to leave before the loop ends

Direction = Literal["request", "response"]
# `cut`: the chunk is dropped and both ends are reset; `tear`: half of it is forwarded before the
# reset; `hang`: it is dropped and the connection stays open without another byte.
Action = Literal["cut", "tear", "hang"]
# SO_LINGER with 0 seconds: close() sends a reset, as the kernel of a rebooted machine does.
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Trap:
    """Applies `action` to the next `times` chunks in `direction` that contain `marker`.

    `then` is called at that moment, in the proxy's thread.
    """

    direction: Direction
    marker: bytes
    action: Action
    times: int = 1
    then: Callable[[], None] = lambda: None
    sprung: int = 0
    _sprung_once: threading.Event = field(default_factory=threading.Event)

    def matches(self, direction: Direction, chunk: bytes) -> bool:
        return self.direction == direction and self.sprung < self.times and self.marker in chunk

    def spring(self) -> None:
        self.sprung += 1
        self.then()
        self._sprung_once.set()

    def wait(self, limit_s: float = 10.0) -> None:
        """Until it has sprung once. AssertionError after the limit."""
        assert self._sprung_once.wait(limit_s), f"no chunk contained {self.marker!r}"


class TcpProxy:
    """Before the server at `upstream_port` of loopback, which may stop and restart.

    `response_delay_s` delays each chunk of a response, `drop_responses` discards them. A test may
    set these, and call the methods that are not coroutines, from any thread.
    """

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0  # known after `open`
        self.response_delay_s = 0.0
        self.drop_responses = False
        self.trap: Trap | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._not_black_hole = asyncio.Event()
        self._numbers = count()

    async def open(self) -> None:
        """Listen on a free port."""
        self._loop = asyncio.get_running_loop()
        self._not_black_hole.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and reset every connection."""
        self._server.close()
        self._reset_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(RESET_FLUSH_S)

    def reset_connections(self) -> None:
        """Reset every connection. New ones are accepted."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def start_black_hole(self) -> None:
        """Hold back all bytes in both directions; new connections are accepted and held too."""
        self._loop.call_soon_threadsafe(self._not_black_hole.clear)

    def end_black_hole(self) -> None:
        """Forward what was held back, as TCP retransmits after a network outage."""
        self._loop.call_soon_threadsafe(self._not_black_hole.set)

    def heal(self) -> None:
        """End every fault."""
        self.response_delay_s, self.drop_responses, self.trap = 0.0, False, None
        self.end_black_hole()

    def set_trap(
        self,
        direction: Direction,
        marker: bytes,
        action: Action,
        *,
        times: int = 1,
        then: Callable[[], None] = lambda: None,
    ) -> Trap:
        self.trap = Trap(direction, marker, action, times, then)
        return self.trap

    def choose_upstream(self) -> int:
        """The port for a new connection. OSError refuses the connection."""
        return self.upstream_port

    def observe(self, connection: int, direction: Direction, chunk: bytes) -> None:
        """Called with each chunk before it is forwarded; `connection` is its number."""

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            reset(writer)
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _connect(
        self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter
    ) -> None:
        await self._not_black_hole.wait()
        server_in, server_out = await asyncio.open_connection("127.0.0.1", self.choose_upstream())
        self._writers.add(server_out)
        both, name = (client_out, server_out), next(self._numbers)
        directions = [
            asyncio.ensure_future(self._forward("request", client_in, server_out, both, name)),
            asyncio.ensure_future(self._forward("response", server_in, client_out, both, name)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            self._writers.discard(server_out)
            for writer in both:
                writer.close()

    async def _forward(
        self,
        direction: Direction,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        connection: int,
    ) -> None:
        with suppress(OSError):
            while chunk := await source.read(CHUNK_BYTES):
                self.observe(connection, direction, chunk)
                trap = self.trap
                if trap is not None and trap.matches(direction, chunk):
                    await _spring(trap, chunk, target, both)
                    return
                if direction == "response":
                    if self.response_delay_s:
                        await asyncio.sleep(self.response_delay_s)
                    if self.drop_responses:
                        continue
                await self._not_black_hole.wait()
                target.write(chunk)
                await target.drain()


async def _spring(
    trap: Trap,
    chunk: bytes,
    target: asyncio.StreamWriter,
    both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
) -> None:
    trap.spring()
    if trap.action == "hang":
        await asyncio.Event().wait()
    if trap.action == "tear":
        target.write(chunk[: len(chunk) // 2])
        await target.drain()
    for writer in both:
        reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash would: with a reset instead of a FIN."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


def url_through(proxy: TcpProxy, url: str) -> str:
    """`url` with the proxy's address in place of the server's."""
    parts = urlsplit(url)
    login = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{proxy.port}"))


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, url
    return port


@contextmanager
def proxy_before(url: str) -> Iterator[tuple[TcpProxy, str]]:
    """A proxy, in a thread, before the server of `url`, and the URL that leads through it."""
    with served_in_thread(TcpProxy(port_of(url))) as proxy:
        yield proxy, url_through(proxy, url)
