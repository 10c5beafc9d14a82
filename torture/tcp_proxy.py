"""A TCP proxy before PostgreSQL or Valkey: hands bytes on, late, not at all, or cuts the line."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

CHUNK_BYTES: Final = 64 * 1024

Way = Literal["request", "answer"]
# `cut`: the chunk vanishes and both ends are reset; `tear`: half of it arrives before the reset;
# `hang`: it vanishes and the connection stands, mute.
Action = Literal["cut", "tear", "hang"]
# SO_LINGER with 0 seconds: close() sends a reset, as a crashed machine's successor would.
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Trap:
    """Springs on the next `times` chunks that contain `marker` and go this `way`.

    `then` is called at that moment, in the proxy's thread.
    """

    way: Way
    marker: bytes
    action: Action
    times: int
    then: Callable[[], None] = lambda: None
    sprung: int = 0

    def matches(self, way: Way, chunk: bytes) -> bool:
        return self.way == way and self.sprung < self.times and self.marker in chunk

    def spring(self) -> None:
        self.sprung += 1
        self.then()


@dataclass(slots=True, eq=False)
class Proxy:
    """In front of the server at `server_port` of loopback, which may come and go.

    `delay_s` holds back answers, `mute` swallows them all. While `hole` is on, nothing passes in
    either direction and new connections lead nowhere; what was sent arrives when it is off again,
    as TCP would send it again.
    """

    server_port: int
    port: int = 0
    delay_s: float = 0.0
    mute: bool = False
    trap: Trap | None = None
    _lines: set[asyncio.StreamWriter] = field(default_factory=set)
    _carrying: set[asyncio.Task[None]] = field(default_factory=set)
    _passable: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listens on a free port; `port` is known afterwards."""
        self._passable.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Ends the door and every connection."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    @property
    def hole(self) -> bool:
        return not self._passable.is_set()

    @hole.setter
    def hole(self, on: bool) -> None:
        if on:
            self._passable.clear()
        else:
            self._passable.set()

    def reset(self) -> None:
        """Resets every connection; new ones are welcome."""
        for writer in list(self._lines):
            reset(writer)

    def heal(self) -> None:
        """Nothing is wrong from now on."""
        self.delay_s, self.mute, self.trap, self.hole = 0.0, False, None, False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  for the type checker
        self._carrying.add(task)
        try:
            await self._carry(reader, writer)
        except asyncio.CancelledError:
            reset(writer)
        finally:
            self._carrying.discard(task)

    async def _carry(
        self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter
    ) -> None:
        self._lines.add(client_out)
        await self._passable.wait()
        try:
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            self._lines.discard(client_out)
            reset(client_out)
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
                    await _caught(trap, chunk, target, pair)
                    return
                if way == "answer":
                    if self.delay_s:
                        await asyncio.sleep(self.delay_s)
                    if self.mute:
                        continue
                if self.hole:
                    await self._passable.wait()
                target.write(chunk)
                await target.drain()


async def _caught(
    trap: Trap, chunk: bytes, target: asyncio.StreamWriter, pair: set[asyncio.StreamWriter]
) -> None:
    trap.spring()
    if trap.action == "hang":
        await asyncio.Event().wait()
    if trap.action == "tear":
        target.write(chunk[: len(chunk) // 2])
        await target.drain()
    for writer in pair:
        reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as a crash would: with a reset instead of a goodbye."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
