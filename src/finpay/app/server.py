"""One worker process of the API: uvicorn with our application, its socket, its shutdown."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from types import FrameType
from typing import Final

import uvicorn

from finpay.app.api import application
from finpay.app.file_limit import raise_file_limit
from finpay.edge.http_protocol import HttpProtocol
from finpay.settings import read as read_settings
from finpay.telemetry import logs

DRAIN_S: Final = 1.0  # long enough for a load balancer to read 503 from /readyz
GRACE_S: Final = 20  # requests in flight have deadlines far below
KEEP_ALIVE_S: Final = 65  # longer than the 60 s after which common load balancers close
BACKLOG: Final = 2048
# Of a response in the kernel: it would take 4 MB, and a slow reader of a stream would seem to have
# stopped until much of that was read.
MAX_UNSENT_BYTES: Final = 128 * 1024
STARTUP_FAILED: Final = 3  # exit code of uvicorn when the lifespan did not start

Refusal = str


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


def run_worker(
    host: str, port: int, shared: socket.socket | None, to_supervisor: "Connection[Refusal, None]"
) -> None:
    """Serves until SIGTERM. Sends the reason to the supervisor if this release may not run."""
    settings = read_settings()
    logs.configure(settings.log_level)
    raise_file_limit()
    refusals: list[Refusal] = []

    def on_refused(reason: Refusal) -> None:
        refusals.append(reason)
        server.should_exit = True

    app = application(settings, on_refused)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        log_level="error",  # what it warns of, the protocol logs as an event of its own
        access_log=False,
        proxy_headers=False,  # edge/request/client_ip.py knows which proxies are trusted
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )
    server = _Server(config, app.drain)
    threading.Thread(target=_stop_with_supervisor, daemon=True).start()
    server.run([shared or bind(host, port, socket.SO_REUSEPORT)])
    if refusals:
        to_supervisor.send(refusals[0])


class _Server(uvicorn.Server):
    """Stops in two steps: /readyz answers 503 and responses close their connections, then, after
    DRAIN_S or at a second signal, the listening socket closes and requests in flight end."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain
        self._draining = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT:
            # At a second SIGINT uvicorn drops the requests in flight, and a terminal sends SIGINT
            # in addition to the supervisor's SIGTERM.
            sig = signal.SIGTERM
        if self._draining or not self.started:
            super().handle_exit(sig, frame)
            return
        self._draining = True
        self._drain()
        timer = threading.Timer(DRAIN_S, super().handle_exit, (sig, frame))
        timer.daemon = True
        timer.start()


def _stop_with_supervisor() -> None:
    """Without a supervisor nothing would ever replace or stop this process."""
    supervisor = parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)
