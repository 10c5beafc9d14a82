"""Metrics of several processes as one exposition, by public interfaces of prometheus-client."""

import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from finpay.telemetry import metrics

PROGRAM = """
from finpay.telemetry import metrics
metrics.PROCESSES.labels("api").set(1)
metrics.observe_all(metrics.REQUEST_DURATION.labels("/x"), [0.0004, 0.001, 0.3, 60.0])
metrics.GATE_DECISIONS.labels("admitted").inc(3)
"""


def run_process(directory: Path) -> None:
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True)


def samples(directory: Path) -> dict[str, float]:
    text = metrics.exposition(str(directory)).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_processes_are_summed(tmp_path: Path) -> None:
    for _ in range(2):
        run_process(tmp_path)
    found = samples(tmp_path)
    duration = "finpay_http_request_duration_seconds"
    assert found[f'{duration}_count{{route="/x"}}'] == 8
    assert found[f'{duration}_sum{{route="/x"}}'] == pytest.approx(2 * 60.3014)
    buckets = [
        found[f'{duration}_bucket{{le="{le}",route="/x"}}'] for le in ("0.001", "0.5", "10.0")
    ]
    assert buckets == [4, 6, 6]
    assert found['finpay_gate_outcomes_total{outcome="admitted"}'] == 6


@pytest.mark.fault("O8")
def test_build_and_processes_are_exposed(tmp_path: Path) -> None:
    for _ in range(2):
        run_process(tmp_path)
    found = samples(tmp_path)
    (build,) = [name for name in found if name.startswith("finpay_build_info")]
    assert f'version="{version("finpay")}"' in build
    assert f'python="{sys.version.split()[0]}"' in build
    assert found[build] == 1
    assert found['finpay_processes{role="api"}'] == 2


@pytest.mark.fault("O8")
def test_retries_are_exposed_before_the_first_one(tmp_path: Path) -> None:
    run_process(tmp_path)
    found = samples(tmp_path)
    for reason in ("conflict", "unavailable"):
        assert found[f'finpay_ledger_batch_retries_total{{reason="{reason}"}}'] == 0


def test_empty_file_of_a_starting_process_is_skipped(tmp_path: Path) -> None:
    run_process(tmp_path)
    before = samples(tmp_path)
    (tmp_path / "counter_999999.db").touch()
    assert samples(tmp_path) == before


def test_file_deleted_during_the_exposition_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: [tmp_path / "counter_1.db"])
    assert samples(tmp_path) == {}


def test_observation_costs_microseconds() -> None:
    """About 2 µs in multiprocess mode; a transfer takes some 300 µs."""
    duration = metrics.REQUEST_DURATION.labels("/x")
    values = [0.002] * 10_000
    begun = time.process_time()
    metrics.observe_all(duration, values)
    assert (time.process_time() - begun) / len(values) < 10e-6
