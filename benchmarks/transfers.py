"""Transfers per second over HTTP, honestly: everything on this machine, default durability.

Starts its own PostgreSQL, Valkey and `finpay serve`, makes users with tokens, drives them with wrk
(unique idempotency keys, JSON bodies), counts what PostgreSQL really committed, and ends with
`ledger verify`. `python -m benchmarks.transfers --help`.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import psutil

from finpay import ids
from finpay.db import migrate
from finpay.db.pool import Database
from finpay.dev.place import open_place, remove_place
from finpay.dev.postgres import start_postgres
from finpay.dev.servers import free_port
from finpay.dev.valkey import start_valkey
from finpay.identity.tokens import Signer
from finpay.ledger import verify
from finpay.settings import DEVELOPMENT_SECRET

SCRIPT: Final = Path(__file__).with_name("transfers.lua")
RESULTS: Final = Path(__file__).with_name("results")
OPENING_BALANCE: Final = 10**12
TOKEN_LIFETIME_S: Final = 86_400
READY_LIMIT_S: Final = 20


@dataclass(frozen=True)
class Round:
    """One run of wrk. Latencies in milliseconds, CPU in seconds of all processes together."""

    connections: int
    seconds: float
    per_second: float
    committed: int
    errors: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    cpu_s: dict[str, float]
    wal_bytes_per_transfer: int


@dataclass(frozen=True)
class Servers:
    """What the benchmark started."""

    url: str
    database_url: str
    processes: dict[str, int]


async def make_users(database_url: str, count: int, tokens: Path) -> None:
    """Users with accounts, money and a living session; a line "token account" for each."""
    signer = Signer([DEVELOPMENT_SECRET], TOKEN_LIFETIME_S)
    database = Database(database_url, size=1, role="finpay_owner")
    lines = []
    for number in range(count):
        user, account, session = ids.new_uuid(), ids.new_uuid(), ids.new_uuid()
        async with database.transaction() as transaction:
            await transaction.execute(
                "INSERT INTO identity.users (id, email, password_hash) VALUES ($1, $2, '-')",
                user,
                f"bench{number}@example.com",
            )
            await transaction.execute("SELECT ledger.open_account($1, $2, 'ZAR')", account, user)
            await transaction.execute(
                "INSERT INTO identity.sessions (id, user_id) VALUES ($1, $2)", session, user
            )
            await transaction.execute(
                "SELECT ledger.fund($1, $2, $3, $4, $5)",
                ids.new_uuid(),
                account,
                OPENING_BALANCE,
                f"bench-{number}",
                b"bench",
            )
        token = signer.issue(user, account, session, time.time())
        lines.append(f"{token} {ids.encode('acc', account)}\n")
    await database.close()
    tokens.write_text("".join(lines))


@contextmanager
def servers(folder: Path, workers: int) -> Iterator[Servers]:
    """PostgreSQL, Valkey and the API, as `finpay dev` would start them, limits off."""
    place = open_place(folder)
    postgres = start_postgres(place)
    valkey = start_valkey(place)
    postgres.ensure_database("finpay")
    database_url = postgres.url("finpay")
    asyncio.run(migrate.prepare(database_url))
    migrate.apply(database_url)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "REDIS_URL": valkey.url,
        "PORT": str(port),
        "FINPAY_WORKERS": str(workers),
        **{f"FINPAY_RATE_LIMIT_{tier}": "off" for tier in ("GLOBAL", "AUTH", "TRANSACTION")},
    }
    with (folder / "serve.log").open("wb") as log:
        api = subprocess.Popen(
            [sys.executable, "-m", "finpay", "serve"], env=environment, stdout=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await_ready(url)
        processes = {"api": api.pid, "postgres": postgres.pid, "valkey": valkey.pid}
        yield Servers(url, database_url, processes)
    finally:
        api.terminate()
        api.wait(30)
        valkey.stop()
        postgres.stop()


def await_ready(url: str) -> None:
    until = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise SystemExit("the API did not become ready")


def cpu_seconds(processes: dict[str, int]) -> dict[str, float]:
    """User and system time of each server and all its children so far."""
    spent = {}
    for name, pid in processes.items():
        root = psutil.Process(pid)
        total = 0.0
        for process in [root, *root.children(recursive=True)]:
            times = process.cpu_times()
            total += times.user + times.system
        spent[name] = total
    return spent


def measure(running: Servers, tokens: Path, connections: int, seconds: int) -> Round:
    """One round of wrk, and what the servers did meanwhile."""
    before = asyncio.run(ledger_state(running.database_url))
    cpu_before = cpu_seconds(running.processes)
    environment = os.environ | {
        "FINPAY_BENCH_USERS": str(tokens),
        "FINPAY_BENCH_RUN": f"c{connections}-{time.time_ns()}",
    }
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", SCRIPT, running.url],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    cpu_after = cpu_seconds(running.processes)
    after = asyncio.run(ledger_state(running.database_url))
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    _, micros, broken, refused, p50, p99, p999 = map(float, found[1].split())
    committed = after[0] - before[0]
    elapsed_s = micros / 1e6
    return Round(
        connections=connections,
        seconds=round(elapsed_s, 2),
        per_second=round(committed / elapsed_s, 1),
        committed=committed,
        errors=int(broken + refused),
        p50_ms=p50,
        p99_ms=p99,
        p999_ms=p999,
        cpu_s={name: round(cpu_after[name] - cpu_before[name], 2) for name in cpu_after},
        wal_bytes_per_transfer=(after[1] - before[1]) // max(1, committed),
    )


async def ledger_state(database_url: str) -> tuple[int, int]:
    """Transactions in the ledger, and bytes of WAL written so far."""
    database = Database(database_url, size=1, role=None)
    row = await database.fetch_one(
        "SELECT (SELECT count(*) FROM ledger.transactions),"
        " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
    )
    await database.close()
    assert row is not None
    return row[0], row[1]


async def proven(database_url: str) -> bool:
    database = Database(database_url, size=1)
    report = await verify.verify(database)
    await database.close()
    return report.ok


def report(rounds: list[Round], users: int, workers: int, *, clean: bool) -> None:
    """A table for people, a JSON file for programs."""
    print("\nconns     tx/s   p50 ms   p99 ms    p99.9 errors  cpu s")
    for one in rounds:
        print(
            f"{one.connections:>5} {one.per_second:>8} {one.p50_ms:>8} {one.p99_ms:>8} "
            f"{one.p999_ms:>8} {one.errors:>6}  {one.cpu_s}"
        )
    print(f"ledger verify: {'clean' if clean else 'VIOLATIONS'}")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    told = {
        "measured_at": now.isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "settings": {
            "users": users,
            "workers": workers,
            "postgresql": "18, fsync, full_page_writes and synchronous_commit on",
            "shared": "API, PostgreSQL, Valkey and wrk on the same cores",
        },
        "verify_clean": clean,
        "rounds": [asdict(one) for one in rounds],
    }
    path = RESULTS / f"transfers-{now:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(told, indent=2) + "\n")
    print(f"written to {path.relative_to(Path.cwd())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", default="32,64,128")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing; on Debian: apt-get install wrk")
    folder = Path(tempfile.mkdtemp(prefix="finpay-bench-"))
    folder.chmod(0o755)  # the servers' account has to pass through
    tokens = folder / "users"
    with servers(folder / "servers", options.workers) as running:
        asyncio.run(make_users(running.database_url, options.users, tokens))
        measure(running, tokens, 32, 3)  # warm caches, connections and plans
        rounds = [
            measure(running, tokens, int(connections), options.seconds)
            for connections in options.connections.split(",")
        ]
        clean = asyncio.run(proven(running.database_url))
    report(rounds, options.users, options.workers, clean=clean)
    remove_place(folder / "servers")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
