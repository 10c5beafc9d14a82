"""The counters of one process; /metrics sums them over all workers.

prometheus-client keeps them in memory-mapped files of PROMETHEUS_MULTIPROC_DIR, which `serve`
sets before this module is imported. Label values come from closed lists: a million random paths
are one series.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

# From OpenTelemetry's http.server.request.duration; finer below 5 ms, where most answers are.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ATTEMPT_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_ITEMS: Final = (1, 2, 5, 10, 20, 50, 100, 250)

REQUESTS: Final = Counter(
    "finpay_http_requests", "Answers by route template and status.", ["method", "route", "status"]
)
DURATION: Final = Histogram(
    "finpay_http_request_duration_seconds",
    "Time from the request's head to the answer's last byte.",
    ["route"],
    buckets=_SECONDS,
)
GATE: Final = Counter("finpay_gate_outcomes", "What the gate decided.", ["outcome"])
BREAKER_OPEN: Final = Gauge(
    "finpay_redis_breaker_open",
    "Processes that go on without Redis.",
    multiprocess_mode="livesum",
)
PIPELINE_SIZE: Final = Histogram(
    "finpay_redis_pipeline_size", "Calls that shared one write to Redis.", buckets=range(1, 13)
)
BATCH_SIZE: Final = Histogram(
    "finpay_ledger_batch_size", "Transfers that shared one commit.", buckets=_ITEMS
)
BATCH_RETRIES: Final = Counter(
    "finpay_ledger_batch_retries", "Batches tried again, by reason.", ["reason"]
)
OUTCOMES: Final = Counter(
    "finpay_ledger_outcomes", "Transfers by what became of them.", ["outcome"]
)
MONEY_MOVED: Final = Counter(
    "finpay_money_moved_minor_units",
    "Completed transfers' amounts, in minor units.",
    ["currency"],
)
POOL_WAIT: Final = Histogram(
    "finpay_db_pool_wait_seconds", "Time until a connection was free.", buckets=_SECONDS
)

DELIVERIES: Final = Counter(
    "finpay_webhook_attempts", "Attempts to deliver: delivered, or the error by name.", ["outcome"]
)
ATTEMPT_DURATION: Final = Histogram(
    "finpay_webhook_attempt_duration_seconds", "Time of one attempt, whole.", buckets=_ATTEMPT_S
)
LEASES: Final = Gauge(
    "finpay_webhook_leases", "Deliveries that workers hold.", multiprocess_mode="livesum"
)
OLDEST_UNDELIVERED: Final = Gauge(
    "finpay_webhook_oldest_undelivered_seconds",
    "Age of the oldest event that an endpoint still waits for; 0: none does.",
    multiprocess_mode="livemax",
)

# What any process last read of it: workers check, and API processes look at what they wrote.
VIOLATIONS: Final = Gauge(
    "finpay_integrity_violations",
    "Rules of the ledger that the continuous check found broken.",
    multiprocess_mode="livemax",
)
CHECKED_THROUGH: Final = Gauge(
    "finpay_integrity_checked_through_timestamp_seconds",
    "Every transaction up to this moment was checked; 0: none yet.",
    multiprocess_mode="livemax",
)
LAST_SUCCESS: Final = Gauge(
    "finpay_integrity_last_success_timestamp_seconds",
    "When the continuous check last ended a round without a violation; 0: never.",
    multiprocess_mode="livemax",
)


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Many observations for the price of few: each costs a lock and a look at the process's id."""
    counts: dict[int, int] = {}
    bounds = histogram._upper_bounds  # noqa: SLF001  it has no public way to observe many
    for value in values:
        at = bisect_left(bounds, value)
        counts[at] = counts.get(at, 0) + 1
    for at, count in counts.items():
        histogram._buckets[at].inc(count)  # noqa: SLF001
    histogram._sum.inc(sum(values))  # noqa: SLF001


def exposition(directory: str | None) -> bytes:
    """All metrics in Prometheus' text format, summed over the processes that share `directory`."""
    if directory is None:
        return generate_latest()
    registry = CollectorRegistry()
    _Workers(registry, path=directory)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class _Workers(MultiProcessCollector):
    def collect(self) -> Iterable[Metric]:
        """Without the empty file of a worker that is just making it, or was killed just then."""
        files = [str(file) for file in Path(self._path).glob("*.db") if _is_made(file)]
        merged: Iterable[Metric] = self.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _is_made(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # its worker died, and the supervisor buried it meanwhile
        return False
