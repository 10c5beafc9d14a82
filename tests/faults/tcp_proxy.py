"""The harness's proxy in a thread with a loop of its own, so that a plain test may hold it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from torture import tcp_proxy
from torture.tcp_proxy import Action, Way

START_LIMIT_S: Final = 5.0
_LAST_WORDS_S: Final = 0.01  # so that resets leave before the loop ends


class Trap(tcp_proxy.Trap):
    """A trap that a test can wait for."""

    def __init__(
        self, way: Way, marker: bytes, action: Action, times: int, then: Callable[[], None]
    ) -> None:
        self._event = threading.Event()
        super().__init__(way, marker, action, times, then)

    def spring(self) -> None:
        super().spring()
        self._event.set()

    def wait(self, limit_s: float = 10.0) -> None:
        """Until it has sprung once."""
        assert self._event.wait(limit_s), f"nothing with {self.marker!r} came by"


class Proxy(tcp_proxy.Proxy):
    """In front of one server. `delay_s` holds back answers, `mute` swallows them all."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def set_trap(
        self,
        way: Way,
        marker: bytes,
        action: Action,
        *,
        times: int = 1,
        then: Callable[[], None] = lambda: None,
    ) -> Trap:
        trap = Trap(way, marker, action, times, then)
        self.trap = trap
        return trap

    def cut(self) -> None:
        """Resets every connection; new ones are welcome."""
        self._loop.call_soon_threadsafe(self.reset)

    def fall_into_a_hole(self) -> None:
        """Nothing passes until `climb_out`."""
        self._loop.call_soon_threadsafe(self._passable.clear)

    def climb_out(self) -> None:
        self._loop.call_soon_threadsafe(self._passable.set)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.open(), self._loop).result(START_LIMIT_S)

    def stop(self) -> None:
        async def end() -> None:
            await self.close()
            await asyncio.sleep(_LAST_WORDS_S)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(START_LIMIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


@contextmanager
def proxy_before(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the server of `url`, and the URL that leads through it."""
    parts = urlsplit(url)
    assert parts.port is not None
    made = Proxy(parts.port)
    made.start()
    login = f"{parts.username}@" if parts.username else ""
    try:
        yield made, urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{made.port}"))
    finally:
        made.stop()
