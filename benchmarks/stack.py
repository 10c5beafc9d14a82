"""The servers of a benchmark: its own PostgreSQL, Valkey and `finpay serve`, rate limits off."""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from finpay.dev.data_dir import open_data_dir, remove_data_dir
from finpay.dev.postgres import Postgres
from finpay.dev.stack import DATABASE, Api, Stack
from finpay.dev.valkey import Valkey
from tests.support.environment import LIMITS_OFF, clean_environment

DURABLE: Final = ("fsync", "full_page_writes", "synchronous_commit")
# A day of stored answers stays in Redis; 256 MB, a laptop's default, are full after a minute.
VALKEY_SETTINGS: Final = {"maxmemory": "8gb"}


class BenchError(Exception):
    """The benchmark can't run. The message is for the user; the exit code is 2."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What may be varied: the number of API processes, their environment, PostgreSQL's settings."""

    workers: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    postgres: Mapping[str, str] = field(default_factory=dict)

    def api_environment(self) -> dict[str, str]:
        given = LIMITS_OFF | {"FINPAY_WORKERS": str(self.workers)} | dict(self.environment)
        return clean_environment(**given)


class BenchStack(Stack):
    """A stack with its own PostgreSQL and Valkey. `api` is the supervisor of the API processes."""

    postgres: Postgres
    valkey: Valkey
    api: Api

    def __init__(self, folder: Path, tuning: Tuning) -> None:
        data_dir = open_data_dir(folder)
        postgres = Postgres(data_dir, settings=tuning.postgres)
        super().__init__(
            folder, postgres=postgres, valkey=Valkey(data_dir, settings=VALKEY_SETTINGS)
        )

    @property
    def url(self) -> str:
        return self.api.url

    @property
    def database_url(self) -> str:
        """With the owner's rights."""
        return self.postgres.url(DATABASE)

    @property
    def pids(self) -> dict[str, int]:
        """The root process of each kind of server."""
        return {"api": self.api.pid, "postgres": self.postgres.pid, "valkey": self.valkey.pid}


def exit_on_sigterm() -> None:
    """SIGTERM ends the process as Ctrl-C does: servers are stopped and their data is removed."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextmanager
def databases(folder: Path, tuning: Tuning) -> Iterator[BenchStack]:
    """PostgreSQL, migrated, and Valkey, without an API."""
    with BenchStack(folder, tuning) as stack:
        stack.start_databases()
        asyncio.run(assert_durable(stack.database_url))
        yield stack


@contextmanager
def running_stack(tuning: Tuning, home: Path | None = None) -> Iterator[BenchStack]:
    """All servers, ready. The data stays in `home`; without it, it is removed."""
    folder = home or Path(tempfile.mkdtemp(prefix="finpay-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # for the servers' account
    try:
        with databases(folder, tuning) as stack:
            stack.api = stack.start_api(tuning.api_environment())
            stack.api.await_ready(stack.api.is_ready)
            yield stack
    finally:
        if home is None:
            remove_data_dir(folder)


async def assert_durable(database_url: str) -> None:
    """BenchError unless a commit is on disk before it is answered."""
    connection = await asyncpg.connect(database_url)
    try:
        for name in DURABLE:
            if (value := await connection.fetchval(f"SHOW {name}")) != "on":
                raise BenchError(f"{name} is {value}: figures without durability are worthless")
    finally:
        await connection.close()
