"""One round: a workload for some seconds, and what it cost, counted where it cannot lie."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks import resource_usage, wrk
from benchmarks.resource_usage import Memory
from benchmarks.stack import Stack
from benchmarks.wrk import Load

WARM_UP_S: Final = 1.0  # fills caches and opens connections
WARM_UP_LIMIT_S: Final = 30.0  # where reads are so slow that not everybody's can be cached
READS: Final = frozenset({"balance", "history"})


@dataclass(frozen=True, slots=True)
class Round:
    """The outcome of one workload. `transfers` were counted in PostgreSQL, not believed.

    `statuses` are the API's answers other than 2xx; `cpu_s` is user and system time per kind of
    process, `others_share` what everybody else on the machine took of all cores; `mean_batch` is
    transfers per commit. `memory_mib` is of the API processes, `peak_mib` of the biggest process of
    each kind, since it started.
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
    bulk_size: int = 0
    bulk_mode: str = ""


def measure(stack: Stack, people: Path, users: int, load: Load) -> Round:
    """Runs the load, after a moment of it that is not counted."""
    _warm_up(stack, people, users, load)
    said = resource_usage.told(stack.url)
    before = asyncio.run(resource_usage.ledger(stack.database_url))
    cpu_before, busy_before_s = (
        resource_usage.cpu_seconds(stack.pids),
        resource_usage.busy_seconds(),
    )
    sent = wrk.run(stack.url, people, load)
    cpu_after, busy_s = (
        resource_usage.cpu_seconds(stack.pids),
        resource_usage.busy_seconds() - busy_before_s,
    )
    after = asyncio.run(resource_usage.ledger(stack.database_url))
    says = resource_usage.told(stack.url)
    cpu_s = {name: cpu_after[name] - cpu_before[name] for name in cpu_after}
    committed = after.completed - before.completed
    # Those in the air when the load ended were committed as well, but nobody was told in time.
    transfers = min(committed, sent.requests * (load.bulk_size if load.workload == "bulk" else 1))
    batches = says.batches - said.batches
    return Round(
        workload=load.workload,
        connections=load.connections,
        users=users,
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
        statuses=_refused(said.answers, says.answers),
        cpu_s={name: round(spent, 2) for name, spent in cpu_s.items()},
        cpu_us_per_request=per_request(cpu_s, sent.requests),
        others_share=others_share(busy_s, sum(cpu_s.values()), sent.seconds),
        wal_bytes_per_transfer=(after.wal_bytes - before.wal_bytes) // transfers
        if transfers
        else 0,
        mean_batch=round((says.batched - said.batched) / batches, 1) if batches else 0,
        memory_mib=resource_usage.memory(stack.api.pid),
        peak_mib=resource_usage.peaks(stack.pids),
        bulk_size=load.bulk_size if load.workload == "bulk" else 0,
        bulk_mode=load.bulk_mode if load.workload == "bulk" else "",
    )


def _warm_up(stack: Stack, people: Path, users: int, load: Load) -> None:
    """Reads go from user to user: each has to have had a turn before they are called cached."""
    first = wrk.run(stack.url, people, replace(load, seconds=WARM_UP_S))
    if load.workload in READS and first.requests < users:
        enough_s = min(WARM_UP_LIMIT_S, 1.2 * users / max(1, first.per_second))
        wrk.run(stack.url, people, replace(load, seconds=max(WARM_UP_S, round(enough_s))))


def per_request(cpu_s: Mapping[str, float], requests: int) -> dict[str, float]:
    """Microseconds of processor time per request."""
    return {name: round(spent * 1e6 / max(1, requests), 1) for name, spent in cpu_s.items()}


def others_share(busy_s: float, ours_s: float, seconds: float) -> float:
    """What others took of the cores: where it is not near 0, the figures are theirs as well."""
    return round(max(0, busy_s - ours_s) / (seconds * (os.cpu_count() or 1)), 3)


def _refused(before: Mapping[int, int], after: Mapping[int, int]) -> dict[int, int]:
    counts = {status: count - before.get(status, 0) for status, count in after.items()}
    return {status: count for status, count in counts.items() if status >= 300 and count}
