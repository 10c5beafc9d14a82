"""One round: a workload for some seconds, and its figures, counted in PostgreSQL."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks import resource_usage, wrk
from benchmarks.resource_usage import Memory
from benchmarks.stack import BenchStack
from benchmarks.wrk import Load

WARM_UP_S: Final = 1.0  # fills caches and opens connections
WARM_UP_LIMIT_S: Final = 30.0  # where reads are too slow to cache those of every user
READS: Final = frozenset({"balance", "history"})
BATCHES: Final = "transfer_batches"


@dataclass(frozen=True, slots=True)
class Round:
    """The figures of one workload. `transfers` are rows in PostgreSQL.

    `statuses` are the API's answers other than 2xx; `cpu_s` is user and system time per kind of
    process, `others_share` the share of all cores that other processes used; `mean_batch` is
    transfers per commit. `memory_mib` is of the API processes, `peak_mib` of the biggest process of
    each kind, since its start.
    """

    workload: str
    connections: int
    users: int
    seconds: float
    requests: int
    requests_per_second: float
    transfers: int
    transfers_per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    errors: int
    statuses: Mapping[int, int]
    cpu_s: Mapping[str, float]
    cpu_us_per_request: Mapping[str, float]
    others_share: float
    wal_bytes_per_transfer: int
    mean_batch: float
    memory_mib: list[Memory]
    peak_mib: Mapping[str, float]
    batch_size: int = 0
    batch_mode: str = ""


@dataclass(frozen=True, slots=True)
class _Counters:
    """All counters at one moment: their differences are the figures of a round."""

    metrics: resource_usage.ApiMetrics
    ledger: resource_usage.Ledger
    cpu_s: Mapping[str, float]
    busy_s: float


def measure(stack: BenchStack, users: Path, count: int, load: Load) -> Round:
    """Runs the load, after a warm-up that is not counted. `count` is the number of users."""
    _warm_up(stack, users, count, load)
    before = _read_counters(stack)
    sent = wrk.run(stack.url, users, load)
    after = _read_counters(stack)
    cpu_s = {name: after.cpu_s[name] - before.cpu_s[name] for name in after.cpu_s}
    busy_s = after.busy_s - before.busy_s
    in_batches = load.workload == BATCHES
    # Requests in flight at the end of the load were committed too, but not answered in time.
    committed = after.ledger.completed - before.ledger.completed
    transfers = min(committed, sent.requests * (load.batch_size if in_batches else 1))
    wal_bytes = after.ledger.wal_bytes - before.ledger.wal_bytes
    batches = after.metrics.batches - before.metrics.batches
    batched = after.metrics.batched_transfers - before.metrics.batched_transfers
    return Round(
        workload=load.workload,
        connections=load.connections,
        users=count,
        seconds=round(sent.seconds, 2),
        requests=sent.requests,
        requests_per_second=round(sent.per_second, 1),
        transfers=transfers,
        transfers_per_second=round(transfers / sent.seconds, 1),
        p50_ms=sent.p50_ms,
        p99_ms=sent.p99_ms,
        p999_ms=sent.p999_ms,
        max_ms=sent.max_ms,
        errors=sent.transport_errors + sent.refusals,
        statuses=_refused(before.metrics.answers, after.metrics.answers),
        cpu_s={name: round(spent, 2) for name, spent in cpu_s.items()},
        cpu_us_per_request=per_request(cpu_s, sent.requests),
        others_share=others_share(busy_s, sum(cpu_s.values()), sent.seconds),
        wal_bytes_per_transfer=wal_bytes // transfers if transfers else 0,
        mean_batch=round(batched / batches, 1) if batches else 0,
        memory_mib=resource_usage.memory(stack.api.pid),
        peak_mib=resource_usage.peaks(stack.pids),
        batch_size=load.batch_size if in_batches else 0,
        batch_mode=load.batch_mode if in_batches else "",
    )


def _read_counters(stack: BenchStack) -> _Counters:
    return _Counters(
        resource_usage.api_metrics(stack.url),
        asyncio.run(resource_usage.ledger(stack.database_url)),
        resource_usage.cpu_seconds(stack.pids),
        resource_usage.busy_seconds(),
    )


def _warm_up(stack: BenchStack, users: Path, count: int, load: Load) -> None:
    """Reads go from user to user: each is read once before reads count as cached."""
    first = wrk.run(stack.url, users, replace(load, seconds=WARM_UP_S))
    if load.workload in READS and first.requests < count:
        enough_s = min(WARM_UP_LIMIT_S, 1.2 * count / max(1, first.per_second))
        wrk.run(stack.url, users, replace(load, seconds=max(WARM_UP_S, round(enough_s))))


def per_request(cpu_s: Mapping[str, float], requests: int) -> dict[str, float]:
    """Microseconds of processor time per request."""
    return {name: round(spent * 1e6 / max(1, requests), 1) for name, spent in cpu_s.items()}


def others_share(busy_s: float, measured_s: float, seconds: float) -> float:
    """The share of all cores that other processes used. Figures are only valid where it is low."""
    return round(max(0, busy_s - measured_s) / (seconds * (os.cpu_count() or 1)), 3)


def _refused(before: Mapping[int, int], after: Mapping[int, int]) -> dict[int, int]:
    counts = {status: count - before.get(status, 0) for status, count in after.items()}
    return {status: count for status, count in counts.items() if status >= 300 and count}
