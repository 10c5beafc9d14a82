"""What a benchmark runs against: its own PostgreSQL, Valkey and `finpay serve`, limits off."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import httpx

from finpay.db import migrate
from finpay.dev.child_process import free_port
from finpay.dev.data_dir import open_data_dir, remove_data_dir
from finpay.dev.postgres import Postgres, start_postgres
from finpay.dev.valkey import Valkey, start_valkey

DATABASE: Final = "finpay"
DURABLE: Final = ("fsync", "full_page_writes", "synchronous_commit")
READY_LIMIT_S: Final = 30.0
STOP_LIMIT_S: Final = 40.0  # draining has a bound of its own below this
# A day's answers stay in Redis. A laptop's 256 MB would be full after a minute of this.
VALKEY_SETTINGS: Final = {"maxmemory": "8gb"}
LIMITS_OFF: Final = {
    f"FINPAY_RATE_LIMIT_{tier}": "off" for tier in ("GLOBAL", "AUTH", "TRANSACTION")
}


class BenchError(Exception):
    """The benchmark can't run. The message is for the person; the exit code is 2."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """What may be varied: API processes, their environment, PostgreSQL's settings."""

    workers: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    postgres: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stack:
    """Running servers. `api` is the supervisor of the API processes."""

    folder: Path
    url: str
    postgres: Postgres
    valkey: Valkey
    api: "subprocess.Popen[bytes]"

    @property
    def database_url(self) -> str:
        return self.postgres.url(DATABASE)

    @property
    def pids(self) -> dict[str, int]:
        """The root process of each kind of server."""
        return {"api": self.api.pid, "postgres": self.postgres.pid, "valkey": self.valkey.pid}


def stop_in_good_order() -> None:
    """Makes a SIGTERM end us as Ctrl-C does: with the servers stopped and their data removed."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextmanager
def stack(knobs: Knobs, home: Path | None = None) -> Iterator[Stack]:
    """All servers, migrated and ready. In `home` the data stays; without it, it is removed."""
    folder = home or Path(tempfile.mkdtemp(prefix="finpay-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # the servers' account has to pass through
    try:
        with (
            databases(folder, knobs) as (postgres, valkey),
            api(folder, postgres.url(DATABASE), valkey.url, knobs) as (process, url),
        ):
            yield Stack(folder, url, postgres, valkey, process)
    finally:
        if home is None:
            remove_data_dir(folder)


@contextmanager
def databases(folder: Path, knobs: Knobs) -> Iterator[tuple[Postgres, Valkey]]:
    """PostgreSQL with every migration and Valkey, as `finpay dev` would start them."""
    place = open_data_dir(folder)
    postgres = start_postgres(place, settings=knobs.postgres)
    try:
        valkey = start_valkey(place, settings=VALKEY_SETTINGS)
        try:
            postgres.ensure_database(DATABASE)
            asyncio.run(migrate.prepare(postgres.url(DATABASE)))
            migrate.apply(postgres.url(DATABASE))
            asyncio.run(assert_durable(postgres.url(DATABASE)))
            yield postgres, valkey
        finally:
            valkey.stop()
    finally:
        postgres.stop()


@contextmanager
def api(
    folder: Path, database_url: str, redis_url: str, knobs: Knobs
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`finpay serve`, ready; its process and URL."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PORT": str(port),
        "FINPAY_WORKERS": str(knobs.workers),
        **LIMITS_OFF,
        **knobs.environment,
    }
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "finpay", "serve"], env=environment, stdout=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await_ready(url, process)
        yield process, url
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_ready(url: str, process: "subprocess.Popen[bytes]", path: str = "/readyz") -> float:
    """Seconds until the first 200. BenchError if there is none in time."""
    started_s = time.monotonic()
    while time.monotonic() < started_s + READY_LIMIT_S and process.poll() is None:
        try:
            if httpx.get(f"{url}{path}", trust_env=False).status_code == 200:
                return time.monotonic() - started_s
        except httpx.HTTPError:
            pass
        time.sleep(0.01)
    raise BenchError("the API did not become ready")


async def assert_durable(database_url: str) -> None:
    """BenchError unless a commit is on disk before it is answered."""
    connection = await asyncpg.connect(database_url)
    try:
        for name in DURABLE:
            if (value := await connection.fetchval(f"SHOW {name}")) != "on":
                raise BenchError(f"{name} is {value}: figures without durability say nothing")
    finally:
        await connection.close()
