"""`finpay serve`: the worker processes of the API, started, watched and drained.

The supervisor is uvicorn's: a worker that dies is replaced. What a worker does with a SIGTERM is
in app.py.
"""

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors import Multiprocess

from finpay.settings import STARTUP_ERROR_FILE, Settings

GRACE_S: Final = 20  # in-flight requests have deadlines far below
KEEP_ALIVE_S: Final = 65  # longer than the 60 s after which common load balancers let go
BACKLOG: Final = 2048


def serve(settings: Settings) -> int:
    """Serves until a signal comes. The exit code: 0, or 2 if it could not or may not run."""
    try:
        port = _Port(settings)
    except OSError as error:
        sys.stderr.write(
            f"finpay: can't listen on {settings.host}:{settings.port} ({error.strerror}); "
            "set PORT to a free one\n"
        )
        return 2
    # Whoever wants the counters of other processes of this machine beside ours names the folder.
    given = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    folder = given or tempfile.mkdtemp(prefix="finpay-serve-")
    # Before any worker imports prometheus-client, which looks once.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        _Supervisor(_config(settings), port).run()
        reason = Path(folder, STARTUP_ERROR_FILE)
        if reason.exists():
            sys.stderr.write(f"finpay: {reason.read_text('utf-8')}\n")
            return 2
        return 0
    finally:
        if given is None:
            shutil.rmtree(folder, ignore_errors=True)


class _Port:
    """The port, ours alone as long as this lives, and the doors to it that workers are given.

    Behind one door the first to wake lets in everybody: of 64 connections that came together, one
    of two workers often had all. So each worker has its own, and the kernel shares callers out
    between those that are open. A door is opened by its worker, when that is ready, and falls shut
    with it: nobody waits behind a door that no one answers.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._one_for_all = sys.platform != "linux"  # the kernels that share nobody out
        self._reserved = _bound(settings)
        self._handed_out: list[socket.socket] = []
        # Fails while somebody else listens.
        self._reserved.listen(BACKLOG)
        if not self._one_for_all:
            # Whoever may share the port may from now on, but nobody can have it for himself.
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self._reserved.shutdown(socket.SHUT_RD)  # the reservation stays; it lets nobody in

    def door(self) -> socket.socket:
        """For one more worker."""
        if self._one_for_all:
            return self._reserved
        self._handed_out.append(_bound(self._settings, socket.SO_REUSEPORT))
        return self._handed_out[-1]

    def let_go(self) -> None:
        """Of doors whose workers have them by now."""
        for door in self._handed_out:
            door.close()
        self._handed_out.clear()

    def close(self) -> None:
        """What only we still listened to would be accepted by nobody."""
        self.let_go()
        self._reserved.close()


class _Supervisor(Multiprocess):
    def __init__(self, config: uvicorn.Config, port: _Port) -> None:
        self._port = port
        super().__init__(config, [])

    @property
    def sockets(self) -> list[socket.socket]:
        """What the next worker listens to."""
        return [self._port.door()]

    @sockets.setter
    def sockets(self, _: list[socket.socket]) -> None:
        """The base class keeps what it was given; we know better."""

    def terminate_all(self) -> None:
        self._port.close()
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        """What a dead worker's gauges last said is no longer so."""
        self._port.let_go()
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        "finpay.app.api:application",
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http="finpay.edge.protocol:Protocol",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # edge/address.py knows whom to trust
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )


def _bound(settings: Settings, *options: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    for option in (socket.SO_REUSEADDR, *options):
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
    bound.bind((settings.host, settings.port))
    bound.set_inheritable(True)
    return bound
