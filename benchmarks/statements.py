"""How long a statement of 100 000 entries takes, and what it takes of memory.

    python -m benchmarks.statements

Seconds are of the whole response over HTTP; processor seconds those of the API process and of
PostgreSQL, which hardly depend on what else the machine does. Memory is the API process's growth.
"""

import asyncio
import json
import time
from typing import Final

import httpx
import psutil

from benchmarks.stack import BenchStack, Tuning, running_stack
from benchmarks.statement_history import write_history
from benchmarks.users import PASSWORD
from finpay import ids
from finpay.client import FinPay, Login

ENTRIES: Final = 100_000
ROUNDS: Final = 3
LIMIT_S: Final = 120.0
PERIODS: Final = {
    "csv": ("2026-01-01", "2026-03-31"),
    "json": ("2026-01-01", "2026-03-31"),
    "pdf": ("2026-01-01", "2026-01-03"),  # 4 320 entries
}


def measure(running: BenchStack, token: str, kind: str) -> dict[str, float]:
    """One statement."""
    (process,) = (
        child
        for child in psutil.Process(running.api.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    )
    idle, peak, size = process.memory_info().rss, 0, 0
    first, last = PERIODS[kind]
    cpu_s, postgres_s, started_s = _cpu_s(process), _postgres_s(running), time.perf_counter()
    with httpx.stream(
        "GET",
        f"{running.url}/api/v1/accounts/statement",
        params={"from": first, "to": last, "format": kind},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=LIMIT_S,
    ) as answer:
        answer.raise_for_status()
        for part in answer.iter_raw():
            size += len(part)
            peak = max(peak, process.memory_info().rss)
    return {
        "seconds": round(time.perf_counter() - started_s, 2),
        "api_cpu_s": round(_cpu_s(process) - cpu_s, 2),
        "postgres_cpu_s": round(_postgres_s(running) - postgres_s, 2),
        "memory_mib": round(max(0, peak - idle) / 2**20, 1),
        "mb": round(size / 1e6, 1),
    }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def _postgres_s(running: BenchStack) -> float:
    server = psutil.Process(running.postgres.pid)
    return sum(_cpu_s(each) for each in (server, *server.children()))


def _register(running: BenchStack, name: str) -> Login:
    with FinPay(running.url) as client:
        return client.register(f"{name}@example.com", PASSWORD, name=name)


def main() -> None:
    """Prints one line of JSON for each statement."""
    with running_stack(Tuning(workers=1)) as running:
        user, partner = (_register(running, name) for name in ("one", "two"))
        account, other = (ids.decode("acc", each.account.id) for each in (user, partner))
        asyncio.run(write_history(running.database_url, account, other, ENTRIES))
        for kind in [*PERIODS] * ROUNDS:
            print(json.dumps({"format": kind, **measure(running, user.access_token, kind)}))


if __name__ == "__main__":
    main()
