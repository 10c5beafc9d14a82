"""A TCP proxy that counts round trips: all that a client sends until the server responds is one.

It parses no protocol, so its count does not depend on what a driver believes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.loop_thread import served_in_thread
from tests.support.tcp_proxy import Direction, TcpProxy, port_of, url_through


@dataclass(slots=True)
class _Trips:
    """One connection: the request bytes of each round trip."""

    requests: list[bytes] = field(default_factory=list)
    answered: bool = True

    def add_request(self, chunk: bytes) -> None:
        if self.answered:
            self.requests.append(chunk)
            self.answered = False
        else:
            self.requests[-1] += chunk


class Recorder(TcpProxy):
    """Before one server."""

    def __init__(self, upstream_port: int) -> None:
        super().__init__(upstream_port)
        self._connections: dict[int, _Trips] = {}
        self._counted_from: dict[int, int] = {}

    def start_counting(self) -> None:
        """Forgets the round trips so far."""
        self._counted_from = {
            name: len(trips.requests) for name, trips in self._connections.items()
        }

    def trips(self, *, but_on_connections_with: Sequence[bytes] = ()) -> list[bytes]:
        """The requests since `start_counting`, without connections that sent one of the texts."""
        return [
            request
            for name, trips in list(self._connections.items())
            if not any(
                text in request for text in but_on_connections_with for request in trips.requests
            )
            for request in trips.requests[self._counted_from.get(name, 0) :]
        ]

    def observe(self, connection: int, direction: Direction, chunk: bytes) -> None:
        trips = self._connections.setdefault(connection, _Trips())
        if direction == "request":
            trips.add_request(chunk)
        else:
            trips.answered = True


@contextmanager
def recorder_before(url: str) -> Iterator[tuple[Recorder, str]]:
    """A recorder before the server of `url`, and the URL that leads through it."""
    with served_in_thread(Recorder(port_of(url))) as recorder:
        yield recorder, url_through(recorder, url)
