"""The counters of one process; /metrics sums them over all workers.

prometheus-client keeps them in memory-mapped files of PROMETHEUS_MULTIPROC_DIR, which `serve`
sets before this module is imported. Label values come from closed lists: a million random paths
are one series.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

# From OpenTelemetry's http.server.request.duration; finer below 5 ms, where most answers are.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
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
    "finpay_redis_pipeline_size", "Calls that shared one round trip to Redis.", buckets=_ITEMS
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
POOL_WAIT: Final = Histogram(
    "finpay_db_pool_wait_seconds", "Time until a connection was free.", buckets=_SECONDS
)


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
