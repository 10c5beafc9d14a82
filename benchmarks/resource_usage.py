"""What the servers used during a load: processor time, memory, WAL, rows, commit batches."""

import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import psutil

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_STATUS: Final = re.compile(r'status="(\d+)"')
_LEAST_BYTES: Final = 16 * 2**20  # smaller processes only supervise others

_STATE: Final = """
SELECT count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint
FROM ledger.transactions
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Transactions in the ledger by status, and bytes of WAL written since the beginning."""

    completed: int
    failed: int
    wal_bytes: int


@dataclass(frozen=True, slots=True)
class ApiMetrics:
    """Answers by status, and the number and total size of the commit batches."""

    answers: Mapping[int, int]
    batches: int
    batched_transfers: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in MiB. `peak` since its start; `own` is not shared with other processes."""

    peak: float
    resident: float
    proportional: float
    own: float


async def ledger(database_url: str) -> Ledger:
    """Counted in PostgreSQL, row by row."""
    connection = await asyncpg.connect(database_url)
    row = await connection.fetchrow(_STATE)
    await connection.close()
    return Ledger(*row)


def api_metrics(url: str) -> ApiMetrics:
    """Summed over all API processes, from /metrics."""
    answers: dict[int, int] = {}
    totals = {"finpay_ledger_batch_size_count": 0, "finpay_ledger_batch_size_sum": 0}
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    for name, labels, value in _SAMPLE.findall(text):
        if name == "finpay_http_requests_total" and (status := _STATUS.search(labels)):
            code = int(status[1])
            answers[code] = answers.get(code, 0) + round(float(value))
        elif name in totals:
            totals[name] += round(float(value))
    return ApiMetrics(answers, *totals.values())


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system time so far, of each server's processes and of the load generators."""
    spent = {name: _cpu_of_tree(pid) for name, pid in pids.items()}
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent["wrk"] = children.ru_utime + children.ru_stime
    return spent


def busy_seconds() -> float:
    """All processor time used on this machine so far, including a hypervisor's."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0) - _guests(times))


def _guests(times: Any) -> float:
    """Linux counts a guest's time in user time as well."""
    return float(getattr(times, "guest", 0) + getattr(times, "guest_nice", 0))


def _cpu_of_tree(pid: int) -> float:
    """With exited children: PostgreSQL's parallel workers run for one query."""
    total = 0.0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory(pid: int) -> list[Memory]:
    """Of the working processes below `pid`, the biggest first."""
    found = [_memory(process) for process in psutil.Process(pid).children(recursive=True)]
    working = [one for one in found if one.resident * 2**20 > _LEAST_BYTES]
    return sorted(working, key=lambda one: -one.peak)


def peaks(pids: Mapping[str, int]) -> dict[str, float]:
    """The biggest peak of any process of each kind, in MiB.

    PostgreSQL's include the shared buffers that they touched.
    """
    found = {}
    for name, pid in pids.items():
        root = psutil.Process(pid)
        found[name] = max(_peak(one) for one in [root, *root.children(recursive=True)])
    return found


def _peak(process: psutil.Process) -> float:
    """VmHWM where there is /proc; otherwise the current size. 0 of a process that has exited."""
    try:
        status = Path("/proc", str(process.pid), "status")
        peak = _PEAK.search(status.read_text()) if status.exists() else None
        return _mebibytes(int(peak[1]) * 1024 if peak else process.memory_info().rss)
    except (OSError, psutil.NoSuchProcess):
        return 0


def _memory(process: psutil.Process) -> Memory:
    full = process.memory_full_info()
    return Memory(
        peak=_peak(process),
        resident=_mebibytes(full.rss),
        proportional=_mebibytes(getattr(full, "pss", full.rss)),
        own=_mebibytes(full.uss),
    )


def _mebibytes(count: int) -> float:
    return round(count / 2**20, 1)
