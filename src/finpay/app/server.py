"""One worker process of the API: uvicorn with our application, its socket, its shutdown."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from types import FrameType
from typing import Final

import uvicorn

from finpay.app.api import application
from finpay.app.file_limit import raise_file_limit
from finpay.app.port import BACKLOG, bind
from finpay.edge.http_protocol import HttpProtocol
from finpay.settings import read as read_settings
from finpay.telemetry import logs

DRAIN_S: Final = 1.0  # long enough for a load balancer to read 503 from /readyz
GRACE_S: Final = 20  # requests in flight have deadlines far below
KEEP_ALIVE_S: Final = 65  # longer than the 60 s after which common load balancers close


def run_worker(
    host: str, port: int, shared: socket.socket | None, to_supervisor: "Connection[str, None]"
) -> None:
    """Serves until SIGTERM. Sends the reason to the supervisor if this release may not run."""
    settings = read_settings()
    logs.configure(settings.log_level)
    raise_file_limit()
    refusals: list[str] = []

    def on_refused(reason: str) -> None:
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
