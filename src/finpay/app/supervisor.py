"""`finpay serve`: starts the worker processes of the API, replaces those that exit, stops them."""

import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from typing import Any, Final

from prometheus_client.multiprocess import mark_process_dead

from finpay.app.port import PortReservation
from finpay.settings import Settings
from finpay.telemetry import logs

STOP_LIMIT_S: Final = 35.0  # longer than a worker's drain, requests in flight and shutdown
MIN_UPTIME_S: Final = 1.0  # a worker that exits sooner is replaced after this pause
STARTUP_FAILED: Final = 3  # exit code of uvicorn when the lifespan did not start

_SPAWN: Final = get_context("spawn")


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT. The exit code: 0, or 2 if it may not or can't run."""
    logs.configure(settings.log_level)
    try:
        port = PortReservation(settings.host, settings.port)
    except OSError as error:
        sys.stderr.write(
            f"finpay: can't listen on {settings.host}:{settings.port} ({error.strerror}); "
            "set PORT to a free port\n"
        )
        return 2
    # An operator who wants the metrics of other processes with these names the folder.
    given = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    folder = given or tempfile.mkdtemp(prefix="finpay-serve-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by the workers at import
    try:
        return _Supervisor(settings, port).run()
    finally:
        port.close()
        if given is None:
            shutil.rmtree(folder, ignore_errors=True)


class _Supervisor:
    def __init__(self, settings: Settings, port: PortReservation) -> None:
        self._settings = settings
        self._port = port
        self._workers: dict[int, tuple[BaseProcess, float]] = {}  # by sentinel, with its start
        self._refusals, self._refuse = _SPAWN.Pipe(duplex=False)
        self._wakeups, self._wake = socket.socketpair()
        self._signals = 0
        self._refused: str | None = None

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        logs.get().info(
            "server_started",
            version=version("finpay"),
            address=f"{self._settings.host}:{self._port.number}",
            workers=self._settings.workers,
            environment=self._settings.env,
        )
        for _ in range(self._settings.workers):
            self._start_worker(is_first=True)
        while not self._stopping:
            self._wait(None)
        self._stop()
        if self._refused is not None:
            logs.get().error("startup_refused", reason=self._refused)
            sys.stderr.write(f"finpay: {self._refused}\n")
            return 2
        return 0

    @property
    def _stopping(self) -> bool:
        return self._signals > 0 or self._refused is not None

    def _on_signal(self, number: int, _frame: Any) -> None:
        self._signals += 1
        with suppress(OSError):
            self._wake.send(bytes([number]))

    def _start_worker(self, *, is_first: bool = False) -> None:
        """An API that can't be loaded ends the supervisor if `is_first`, later its process."""
        worker = _SPAWN.Process(
            target=_run_worker,
            args=(self._settings.host, self._port.number, self._port.shared, self._refuse),
            kwargs={"is_first": is_first},
        )
        worker.start()
        self._workers[worker.sentinel] = (worker, time.monotonic())

    def _wait(self, timeout_s: float | None) -> None:
        """Handles what happens next: a signal, a worker's refusal, a worker's exit."""
        ready = connection.wait([self._wakeups, self._refusals, *self._workers], timeout_s)
        if self._wakeups in ready:
            self._wakeups.recv(64)
        if self._refusals in ready:
            refusal: str = self._refusals.recv()
            self._refused = self._refused or refusal
        for sentinel in ready:
            if sentinel in self._workers:
                self._on_exit(*self._workers.pop(sentinel))

    def _on_exit(self, worker: BaseProcess, started_s: float) -> None:
        worker.join()
        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
        if self._stopping:
            return
        logs.get().error("worker_exited", pid=worker.pid, exit_code=worker.exitcode)
        if worker.exitcode == STARTUP_FAILED:
            self._refused = "a worker could not start; its log says why"
            return
        if time.monotonic() - started_s < MIN_UPTIME_S:
            self._wait(MIN_UPTIME_S)
        if not self._stopping:
            self._start_worker()

    def _stop(self) -> None:
        """Lets the workers drain. A second signal ends their drain, the limit kills them."""
        logs.get().info("server_stopping")
        deadline_s = time.monotonic() + STOP_LIMIT_S
        forwarded = 0
        while self._workers and time.monotonic() < deadline_s:
            if forwarded < max(1, self._signals):
                forwarded += 1
                for worker, _ in self._workers.values():
                    worker.terminate()
            self._wait(1.0)
        for worker, _ in self._workers.values():
            worker.kill()
            worker.join()
        logs.get().info("server_stopped")


def _run_worker(
    host: str,
    port: int,
    shared: socket.socket | None,
    to_supervisor: "connection.Connection[str, None]",
    *,
    is_first: bool,
) -> None:
    """The supervisor does without the modules of the API: it starts workers in half the time."""
    try:
        from finpay.app.server import run_worker
    except Exception as error:
        if not is_first:
            raise
        to_supervisor.send(f"the API can't be loaded: {error}")
        return
    run_worker(host, port, shared, to_supervisor)
