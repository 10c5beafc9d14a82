"""The port of the API: what the supervisor shares with its worker processes."""

import socket
import sys
from typing import Final

BACKLOG: Final = 2048
# Of a response in the kernel: it would take 4 MB, and a slow reader of a stream would seem to have
# stopped until much of that was read.
MAX_UNSENT_BYTES: Final = 128 * 1024


class PortReservation:
    """Reserves the port for the lifetime of the supervisor.

    On Linux each worker listens on a SO_REUSEPORT socket of its own and the kernel distributes
    connections: with one shared socket the worker that wakes first often accepts all of a burst.
    A worker's socket listens from the moment the worker is ready until it stops, so no connection
    queues for a worker that has exited. Elsewhere all workers share `shared`.
    """

    def __init__(self, host: str, port: int) -> None:
        self._reserved = bind(host, port)
        self._reserved.listen(BACKLOG)  # fails while another process listens
        self.number: int = self._reserved.getsockname()[1]
        self.shared: socket.socket | None = None
        if sys.platform == "linux":
            # From here on others may bind with SO_REUSEPORT, but not exclusively.
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self._reserved.shutdown(socket.SHUT_RD)  # reserved, but not listening
        else:
            self.shared = self._reserved

    def close(self) -> None:
        self._reserved.close()


def bind(host: str, port: int, *options: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    for option in (socket.SO_REUSEADDR, *options):
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
    # Accepted connections inherit it.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
    bound.bind((host, port))
    return bound
