"""The metrics of one process; /metrics sums them over all processes of a service.

prometheus-client keeps them in memory-mapped files of PROMETHEUS_MULTIPROC_DIR, which `serve`
sets before this module is imported. Label values come from closed lists, so that a million random
paths are one series.
"""

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

# From OpenTelemetry's http.server.request.duration; finer below 5 ms, where most answers are.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ATTEMPT_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_ITEMS: Final = (1, 2, 5, 10, 20, 50, 100, 250)

BUILD_INFO: Final = Gauge(
    "finpay_build_info", "Always 1.", ["version", "python"], multiprocess_mode="max"
)
BUILD_INFO.labels(version("finpay"), platform.python_version()).set(1)
# Each process sets its role to 1 when it starts; the sum is the number of running processes.
PROCESSES: Final = Gauge(
    "finpay_processes", "Running processes: api or worker.", ["role"], multiprocess_mode="livesum"
)

REQUESTS: Final = Counter(
    "finpay_http_requests", "Responses by route template and status.", ["method", "route", "status"]
)
REQUEST_DURATION: Final = Histogram(
    "finpay_http_request_duration_seconds",
    "Time from a request's head to the last byte of its response.",
    ["route"],
    buckets=_SECONDS,
)
GATE_DECISIONS: Final = Counter(
    "finpay_gate_outcomes", "Requests by the gate's decision.", ["outcome"]
)
BREAKER_OPEN: Final = Gauge(
    "finpay_redis_breaker_open",
    "Processes that run without Redis: their circuit breaker is open.",
    multiprocess_mode="livesum",
)
PIPELINE_SIZE: Final = Histogram(
    "finpay_redis_pipeline_size", "Calls in one write to Redis.", buckets=range(1, 13)
)
BATCH_SIZE: Final = Histogram(
    "finpay_ledger_batch_size", "Transfers in one commit.", buckets=_ITEMS
)
BATCH_RETRIES: Final = Counter(
    "finpay_ledger_batch_retries", "Retries of a commit batch, by reason.", ["reason"]
)
for _reason in ("conflict", "unavailable"):
    BATCH_RETRIES.labels(_reason)  # at 0: without a first sample its first rise has no rate
OUTCOMES: Final = Counter("finpay_ledger_outcomes", "Transfers by outcome.", ["outcome"])
MONEY_MOVED: Final = Counter(
    "finpay_money_moved_minor_units",
    "Amounts of completed transfers, in minor units.",
    ["currency"],
)
POOL_WAIT: Final = Histogram(
    "finpay_db_pool_wait_seconds", "Wait for a free database connection.", buckets=_SECONDS
)

DELIVERIES: Final = Counter(
    "finpay_webhook_attempts",
    "Delivery attempts: delivered, or the name of the error.",
    ["outcome"],
)
ATTEMPT_DURATION: Final = Histogram(
    "finpay_webhook_attempt_duration_seconds",
    "Duration of one delivery attempt.",
    buckets=_ATTEMPT_S,
)
LEASES: Final = Gauge(
    "finpay_webhook_leases", "Deliveries leased by workers.", multiprocess_mode="livesum"
)
OLDEST_UNDELIVERED: Final = Gauge(
    "finpay_webhook_oldest_undelivered_seconds",
    "Age of the oldest event with an unfinished delivery; 0: there is none.",
    multiprocess_mode="livemax",
)

# As each process last read them from the database, where workers record them.
VIOLATIONS: Final = Gauge(
    "finpay_integrity_violations",
    "Violations that the continuous check of the ledger found.",
    multiprocess_mode="livemax",
)
CHECKED_THROUGH: Final = Gauge(
    "finpay_integrity_checked_through_timestamp_seconds",
    "All transactions before this time were checked; 0: none yet.",
    multiprocess_mode="livemax",
)
LAST_SUCCESS: Final = Gauge(
    "finpay_integrity_last_success_timestamp_seconds",
    "When the continuous check last completed a run without violations; 0: never.",
    multiprocess_mode="livemax",
)


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Records all values: 2 µs each, in the memory-mapped file of the process."""
    for value in values:
        histogram.observe(value)


def exposition(directory: str | None) -> bytes:
    """All metrics in Prometheus' text format, summed over the processes that share `directory`."""
    if directory is None:
        return generate_latest()
    registry = CollectorRegistry()
    registry.register(_NonEmptyFiles(Path(directory)))
    return generate_latest(registry)


class _NonEmptyFiles(Collector):
    """The files of all processes but empty ones: their process has only just created them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in self._directory.glob("*.db") if _has_content(file)]
        yield from MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # the process exited and the supervisor deleted its file
        return False
