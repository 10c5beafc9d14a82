"""An asyncio server in the event loop of another thread, for tests without a loop of their own."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

LIMIT_S: Final = 10.0


class AsyncServer(Protocol):
    """A server that listens between `open` and `close`."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...


ServerT = TypeVar("ServerT", bound=AsyncServer)


@contextmanager
def served_in_thread(server: ServerT) -> Iterator[ServerT]:
    """`server`, listening until the end of the block."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        try:
            await server.open()
        except BaseException as error:
            started.set_exception(error)
            raise
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    loop, stop = started.result(LIMIT_S)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(LIMIT_S)
        assert not thread.is_alive(), f"{server} did not stop"
