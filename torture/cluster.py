"""The processes of one run: started, harmed and repaired here, and stopped at the end.

PostgreSQL and Valkey run as under `finpay dev`, durable; the API and the worker are the production
commands. They reach the databases through proxies. Everything is in a folder and on ports of this
run; servers that the environment names are never used.
"""

import asyncio
import os
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGQUIT, SIGSTOP
from typing import Final

from finpay.dev.data_dir import open_data_dir
from finpay.dev.postgres import Postgres
from finpay.dev.stack import Api, ServerUrls, Service, Stack
from finpay.dev.valkey import Valkey
from tests.support.environment import LIMITS_OFF, LOOPBACK_WEBHOOKS, clean_environment
from tests.support.processes import signal_tree
from tests.support.tcp_proxy import TcpProxy, url_through
from torture.fault_plan import API_COUNT
from torture.operations import APPROVAL_ABOVE

# The most connections of the pools of one API process and of the worker; a test compares them.
API_CONNECTIONS: Final = 17
WORKER_CONNECTIONS: Final = 16
PAUSE_LIMIT_S: Final = 10  # longer than any fault pauses a process
# $1 seconds, then the processes. A reused process ID gets a CONT, which is harmless.
_WAKE: Final = 'sleep "$1"; shift; for pid in "$@"; do kill -s CONT "$pid" 2>/dev/null; done'
_ENTERABLE: Final = 0o755  # for the servers' account
_READY_POLL_S: Final = 0.1
# A deadlock is detected before FinPay's own lock timeout hides it: it has to be counted.
_POSTGRES: Final = {"deadlock_timeout": "20ms", "max_connections": "150"}
_ENVIRONMENT: Final = {
    **LIMITS_OFF,
    **LOOPBACK_WEBHOOKS,
    "FINPAY_WORKERS": "1",
    "FINPAY_ACCESS_TOKEN_TTL": "86400",  # no client has to log in again
    "FINPAY_APPROVAL_ABOVE": f"ZAR:{APPROVAL_ABOVE}",
    # Deliveries are retried soon, and for longer than any fault lasts.
    "FINPAY_WEBHOOK_RETRY_SCHEDULE": ",".join(["1"] * 20 + ["5"] * 60),
    "FINPAY_LOG_LEVEL": "warning",
}


class Cluster:
    """`start` and `stop` enclose a run; the other methods are for the nemesis."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="finpay-torture-"))
        self.folder.chmod(_ENTERABLE)
        data_dir = open_data_dir(self.folder / "servers")
        self.postgres = Postgres(data_dir, settings=_POSTGRES)
        self.valkey = Valkey(data_dir)
        self._stack = Stack(self.folder, postgres=self.postgres, valkey=self.valkey)
        self._proxies: list[TcpProxy] = []
        self._paused: set[int] = set()
        self.apis: list[Api] = []
        self.worker: Service
        self.postgres_proxy: TcpProxy
        self.valkey_proxy: TcpProxy

    @property
    def owner_url(self) -> str:
        """Directly to PostgreSQL, without the proxy."""
        return self._stack.urls.owner

    async def start(self) -> None:
        """Start all processes but the clients. DevError or MigrationError when it can't."""
        await asyncio.to_thread(self._stack.start_databases)
        self.postgres_proxy = await self._open_proxy(self.postgres.port)
        self.valkey_proxy = await self._open_proxy(self.valkey.port)
        direct = self._stack.urls
        self._stack.urls = ServerUrls(
            url_through(self.postgres_proxy, direct.database),
            direct.owner,
            url_through(self.valkey_proxy, direct.redis),
            url_through(self.postgres_proxy, direct.operator),
        )
        environment = clean_environment(**_ENVIRONMENT)
        self.apis = [self._stack.start_api(environment, f"api-{n}") for n in range(API_COUNT)]
        self.worker = self._stack.start_worker(environment)

    async def stop(self) -> None:
        """Stop every process. The folder stays."""
        self.resume(list(self._paused))
        await asyncio.to_thread(self._stack.stop)
        for proxy in self._proxies:
            await proxy.close()

    async def heal(self) -> None:
        """Start every stopped server, resume every paused one, end the faults of the proxies."""
        for proxy in self._proxies:
            proxy.heal()
        self.resume(list(self._paused))
        for server in (self.postgres, self.valkey):
            if not server.running:
                await asyncio.to_thread(server.start)

    async def await_ready(self, limit_s: float) -> bool:
        """Whether every API was ready within the limit."""
        until = time.monotonic() + limit_s
        for api in self.apis:
            while not await asyncio.to_thread(api.is_ready):
                if time.monotonic() >= until:
                    return False
                await asyncio.sleep(_READY_POLL_S)
        return True

    async def crash_postgres(self) -> int:
        """As `pg_ctl stop -m immediate`: no checkpoint, so it recovers from its log. Its pid."""
        self.postgres.process.send_signal(SIGQUIT)
        await asyncio.to_thread(self.postgres.process.wait)
        await asyncio.to_thread(self.postgres.stop)  # ends its watchdog
        return self.postgres.pid

    async def flush_valkey(self) -> None:
        await ask_valkey(self.valkey.port, "FLUSHALL")

    def pause(self, pid: int) -> list[int]:
        """SIGSTOP to a process and all below it; the pids for `resume`."""
        stopped = signal_tree(pid, SIGSTOP)
        self._paused.update(stopped)
        _wake_later(stopped)
        return stopped

    def resume(self, pids: list[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, SIGCONT)
            self._paused.discard(pid)

    async def _open_proxy(self, port: int) -> TcpProxy:
        proxy = TcpProxy(port)
        await proxy.open()
        self._proxies.append(proxy)
        return proxy


async def ask_valkey(port: int, command: str) -> str:
    """The first line of the answer to one inline command, without the proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{command}\r\n".encode())
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


def _wake_later(pids: list[int]) -> None:
    """Resumes the processes even if the harness is killed while they are paused."""
    subprocess.Popen(
        ["/bin/sh", "-c", _WAKE, "finpay-wake", str(PAUSE_LIMIT_S), *map(str, pids)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
