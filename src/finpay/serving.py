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
        listening = _listen(settings.host, settings.port)
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
        _Supervisor(_config(settings), sockets=[listening]).run()
        reason = Path(folder, UNFIT_FILE)
        if reason.exists():
            sys.stderr.write(f"finpay: {reason.read_text('utf-8')}\n")
            return 2
        return 0
    finally:
        if given is None:
            shutil.rmtree(folder, ignore_errors=True)


class _Supervisor(Multiprocess):
    def terminate_all(self) -> None:
        """Lets go of the port first: what only we still listened to would be accepted by nobody."""
        for listening in self.sockets:
            listening.close()
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


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(BACKLOG)
    listening.set_inheritable(True)
    return listening
