"""The processes of one run: started here, harmed and mended by pid, and gone in the end.

PostgreSQL and Valkey run as `finpay dev` runs them, durable; the API and the worker are the
production commands. All is in a folder and on ports of this run's own; whatever the environment
names is never touched.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from finpay.db import migrate
from finpay.dev.child_process import Child, free_port, start
from finpay.dev.data_dir import DataDir, open_data_dir
from finpay.dev.postgres import Postgres, start_postgres
from finpay.dev.valkey import Valkey, start_valkey
from torture.fault_plan import API_COUNT
from torture.tcp_proxy import Proxy

DATABASE: Final = "finpay"
STOP_LIMIT_S: Final = 15.0  # longer than `serve` gives requests that are being answered
# What the pools of one API process and of the worker hold at most; a test compares them.
API_CONNECTIONS: Final = 15
WORKER_CONNECTIONS: Final = 5
PAUSE_LIMIT_S: Final = 10  # longer than any strike holds a process
# $1 seconds, then the processes. A number may be another's by now: CONT harms nobody.
_WAKE: Final = 'sleep "$1"; shift; for pid in "$@"; do kill -s CONT "$pid" 2>/dev/null; done'
_ENTERABLE: Final = 0o755  # the servers' account passes through
# A deadlock is seen before our own lock timeout hides it: it has to be counted, not survived.
_POSTGRES: Final = {"deadlock_timeout": "20ms", "max_connections": "150"}
_LOOPBACK: Final = "127.0.0.0/8"
# Deliveries are tried again soon, and for longer than any fault lasts.
_RETRY_SCHEDULE_S: Final = ",".join(["1"] * 20 + ["5"] * 60)


@dataclass(slots=True)
class Service:
    """`finpay serve` or `finpay worker`: a process of ours that can be started again and again."""

    name: str
    command: str
    environment: dict[str, str]
    folder: Path
    starts: int = 0
    child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(self.environment["PORT"])

    def start(self) -> None:
        self.starts += 1
        self.child = start(
            self.name,
            [sys.executable, "-m", "finpay", self.command],
            log=self.folder / f"{self.name}-{self.starts}.log",
            stop_signal=signal.SIGTERM,
            env=self.environment,
            cwd=self.folder,
            stop_limit_s=STOP_LIMIT_S,
        )

    def serving(self) -> list[psutil.Process]:
        """The processes below the supervisor that serve; none while they are being replaced."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._running.pid).children():
                with suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(child.cmdline()):
                        found.append(child)
        return found

    def kill(self) -> int:
        """SIGKILL to the command and all that it started; the pid."""
        child = self._running
        child.kill()
        child.stop()  # lets go of its watcher
        return child.pid

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()

    @property
    def alive(self) -> bool:
        return self.child is not None and self.child.running

    @property
    def _running(self) -> Child:
        if self.child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self.child


@dataclass(slots=True)
class Rig:
    """All of them. `start` and `stop` bracket a run; the rest is for the nemesis."""

    folder: Path
    place: DataDir
    postgres_proxy: Proxy = field(init=False)
    valkey_proxy: Proxy = field(init=False)
    apis: list[Service] = field(default_factory=list)
    worker: Service = field(init=False)
    _postgres: Postgres | None = None
    _valkey: Valkey | None = None
    _paused: set[int] = field(default_factory=set)

    @classmethod
    def make(cls) -> "Rig":
        folder = Path(tempfile.mkdtemp(prefix="finpay-torture-"))
        folder.chmod(_ENTERABLE)
        return cls(folder, open_data_dir(folder / "servers"))

    @property
    def postgres(self) -> Postgres:
        if self._postgres is None:
            raise RuntimeError("PostgreSQL was never started")
        return self._postgres

    @property
    def valkey(self) -> Valkey:
        if self._valkey is None:
            raise RuntimeError("Valkey was never started")
        return self._valkey

    @property
    def owner_url(self) -> str:
        """Straight to PostgreSQL, past the proxy."""
        return self.postgres.url(DATABASE)

    async def start(self) -> None:
        """Everything but the clients. DevError or MigrationError where it can't."""
        self._postgres = await asyncio.to_thread(start_postgres, self.place, settings=_POSTGRES)
        self._valkey = await asyncio.to_thread(start_valkey, self.place)
        await asyncio.to_thread(self.postgres.ensure_database, DATABASE)
        await migrate.prepare(self.owner_url)
        await asyncio.to_thread(migrate.apply, self.owner_url)
        await asyncio.to_thread(self.postgres.sql, "ALTER ROLE finpay_app LOGIN")
        self.postgres_proxy, self.valkey_proxy = Proxy(self.postgres.port), Proxy(self.valkey.port)
        await self.postgres_proxy.open()
        await self.valkey_proxy.open()
        self.apis = [self._service(f"api-{number}", "serve") for number in range(API_COUNT)]
        self.worker = self._service("worker", "worker")
        for service in (*self.apis, self.worker):
            service.start()

    async def stop(self) -> None:
        """Nothing of ours runs afterwards. The folder stays."""
        for pid in list(self._paused):
            self._resume(pid)
        services = [*self.apis, *([self.worker] if hasattr(self, "worker") else [])]
        await asyncio.gather(*(asyncio.to_thread(service.stop) for service in services))
        for name in ("postgres_proxy", "valkey_proxy"):
            if hasattr(self, name):
                await getattr(self, name).close()
        for server in (self._valkey, self._postgres):
            if server is not None:
                await asyncio.to_thread(server.stop)

    async def heal(self) -> None:
        """Every server runs, nobody is paused, and both proxies hand on what comes."""
        self.postgres_proxy.heal()
        self.valkey_proxy.heal()
        self.resume(list(self._paused))
        await self.start_postgres()
        await self.start_valkey()

    async def start_postgres(self) -> None:
        """Again, with the data and at the port that it had."""
        if not self.postgres.child.running:
            self._postgres = await asyncio.to_thread(
                start_postgres, self.place, port=self.postgres.port, settings=_POSTGRES
            )

    async def crash_postgres(self) -> int:
        """`pg_ctl stop -m immediate`: no checkpoint, so it recovers from its log."""
        pid = self.postgres.pid
        os.kill(pid, signal.SIGQUIT)
        await asyncio.to_thread(self.postgres.child.process.wait)
        await asyncio.to_thread(self.postgres.stop)  # lets go of its watcher
        return pid

    async def start_valkey(self) -> None:
        """Again, empty, at the port that it had."""
        if not self.valkey.child.running:
            self._valkey = await asyncio.to_thread(start_valkey, self.place, port=self.valkey.port)

    async def kill_valkey(self) -> int:
        pid = self.valkey.pid
        await asyncio.to_thread(self.valkey.child.kill)
        await asyncio.to_thread(self.valkey.stop)  # lets go of its watcher
        return pid

    async def flush_valkey(self) -> None:
        await ask_valkey(self.valkey.port, "FLUSHALL")

    def pause(self, pid: int) -> list[int]:
        """SIGSTOP to a process and all below it, the parent first; whom `resume` has to wake."""
        stopped = []
        for process in _family(pid):
            with suppress(psutil.NoSuchProcess):
                process.suspend()
                stopped.append(process.pid)
        self._paused.update(stopped)
        _wake_later(stopped)
        return stopped

    def resume(self, pids: list[int]) -> None:
        for pid in pids:
            self._resume(pid)

    def _resume(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        self._paused.discard(pid)

    def _service(self, name: str, command: str) -> Service:
        through = self.postgres.url(DATABASE, "finpay_app").replace(
            f":{self.postgres.port}/", f":{self.postgres_proxy.port}/"
        )
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
            "DATABASE_URL": through,
            "REDIS_URL": f"redis://127.0.0.1:{self.valkey_proxy.port}/0",
            "PORT": str(free_port()),
            "FINPAY_WORKERS": "1",
            "FINPAY_RATE_LIMIT_GLOBAL": "off",
            "FINPAY_RATE_LIMIT_AUTH": "off",
            "FINPAY_RATE_LIMIT_TRANSACTION": "off",
            "FINPAY_ACCESS_TOKEN_TTL": "86400",  # nobody has to log in again
            "FINPAY_WEBHOOK_ALLOWED_CIDRS": _LOOPBACK,
            "FINPAY_WEBHOOK_RETRY_SCHEDULE": _RETRY_SCHEDULE_S,
            "FINPAY_LOG_LEVEL": "warning",
        }
        return Service(name, command, environment, self.folder)


async def ask_valkey(port: int, command: str) -> str:
    """One command as a line, past the proxy; the first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{command}\r\n".encode())
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


def _wake_later(pids: list[int]) -> None:
    """Should this process be killed meanwhile, nothing of ours stays stopped for ever."""
    subprocess.Popen(
        ["/bin/sh", "-c", _WAKE, "finpay-wake", str(PAUSE_LIMIT_S), *map(str, pids)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
