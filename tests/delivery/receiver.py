"""A receiver of webhooks on loopback: it does what a test says, and remembers every request."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

HANG: Final = b""  # no answer, and the connection stays open
DROP: Final = b"drop"  # the connection ends without an answer
CLOSE: Final = b"\0close"  # at the end of an answer: the connection ends behind it
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came. Header names are lower-case."""

    line: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Behaviour = Callable[[Request], bytes]


def status(code: int, *headers: str, body: str = "") -> bytes:
    """An answer, ready to send."""
    lines = [f"HTTP/1.1 {code} Status", f"Content-Length: {len(body.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@dataclass
class Receiver:
    """Runs in a thread. `behave` chooses each answer: raw bytes, HANG or DROP."""

    behave: Behaviour = lambda _: OK
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    most_at_once: int = 0
    _at_once: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> set[str]:
        return {request.id for request in list(self.requests)}

    def await_requests(self, count: int, limit_s: float = 20) -> None:
        """Until there were so many."""
        until(lambda: len(self.requests) >= count, limit_s, lambda: f"{len(self.requests)} came")

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await _read(reader)
                self.requests.append(request)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                try:
                    answer = self.behave(request)
                    if answer == HANG:
                        await reader.read(1)  # until the other side has had enough
                        break
                    if answer == DROP:
                        break
                    writer.write(answer.removesuffix(CLOSE))
                    await writer.drain()
                    if answer.endswith(CLOSE):
                        break
                finally:
                    self._at_once -= 1
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self._writers.discard(writer)

    async def serve(self, port: int, ready: threading.Event) -> None:
        """Until it is stopped; then every connection ends, and each `meet` with it."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self.meet, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        while self._writers:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)


@contextmanager
def receiving(behave: Behaviour = lambda _: OK, port: int = 0) -> Iterator[Receiver]:
    """A receiver on loopback for as long as the block lasts."""
    receiver = Receiver(behave)
    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(receiver.serve(port, ready)))
    thread.start()
    assert ready.wait(10)
    try:
        yield receiver
    finally:
        receiver.stop()
        thread.join(10)


def until(
    holds: Callable[[], bool], limit_s: float = 20, told: Callable[[], object] = lambda: ""
) -> None:
    """Waits for a condition. AssertionError with what `told` says if it never holds."""
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s, told()
        time.sleep(0.02)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    line, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Request(line, headers, body, time.monotonic())
