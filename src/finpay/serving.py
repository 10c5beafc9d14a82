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

from finpay.settings import UNFIT_FILE, Settings

GRACE_S: Final = 20  # in-flight requests have deadlines far below
KEEP_ALIVE_S: Final = 65  # longer than the 60 s after which common load balancers let go
BACKLOG: Final = 2048


def serve(settings: Settings) -> int:
    """Serves until a signal comes. The exit code: 0, or 2 if it could not or may not run."""
    try:
        doors = _listen(settings)
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
        _Supervisor(_config(settings), doors).run()
        reason = Path(folder, UNFIT_FILE)
        if reason.exists():
            sys.stderr.write(f"finpay: {reason.read_text('utf-8')}\n")
            return 2
        return 0
    finally:
        if given is None:
            shutil.rmtree(folder, ignore_errors=True)


class _Supervisor(Multiprocess):
    """Gives each worker a door of its own, so that the kernel spreads callers evenly.

    Behind one door the first to wake lets in everybody: of 64 connections that came together, one
    of two workers often had all.
    """

    def __init__(self, config: uvicorn.Config, doors: list[socket.socket]) -> None:
        self._doors = doors
        super().__init__(config, doors)

    @property
    def sockets(self) -> list[socket.socket]:
        """What the next worker listens to: the door of one who died, or the next one."""
        ended = [process.exitcode is not None for process in self.processes]
        at = ended.index(True) if True in ended else len(ended)
        # All of them for what a signal asks for beyond that (HUP, TTIN).
        return self._doors[at : at + 1] or self._doors

    @sockets.setter
    def sockets(self, _: list[socket.socket]) -> None:
        """The base class keeps what it was given; we know better."""

    def terminate_all(self) -> None:
        """Lets go of the port first: what only we still listened to would be accepted by nobody."""
        for door in self._doors:
            door.close()
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        """What a dead worker's gauges last said is no longer so."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        "finpay.app:application",
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


def _listen(settings: Settings) -> list[socket.socket]:
    """The doors, one per worker where the kernel shares callers out between them."""
    first = _door(settings)
    if sys.platform != "linux" or settings.workers == 1:
        return [first]
    # Only after the port was had for oneself: a second service would share it without a word.
    first.close()
    return [_door(settings, shared=True) for _ in range(settings.workers)]


def _door(settings: Settings, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    door.bind((settings.host, settings.port))
    door.listen(BACKLOG)
    door.set_inheritable(True)
    return door
