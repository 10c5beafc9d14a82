"""wrk, the external load generator: one run of one workload of load.lua."""

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.stack import BenchError
from benchmarks.users import PASSWORD

SCRIPT: Final = Path(__file__).with_name("load.lua")
TIMEOUT_S: Final = 10  # above the 5 s within which every request is answered
SLACK_S: Final = 60  # wrk reads its users before the load, and waits for answers after it

_RESULT: Final = re.compile(r"^RESULT (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """The requests of `workload` over that many connections, for that long.

    `batch_size` is items per transfer batch; without `rate`, in requests/s, each connection sends
    its next request at once.
    """

    workload: str
    connections: int
    seconds: float
    batch_size: int = 500
    batch_mode: str = "independent"
    rate: float = 0
    targets: Path | None = None  # of captures and refunds


@dataclass(frozen=True, slots=True)
class WrkResult:
    """wrk's own figures. Latencies of all answers; `refusals` are answers ≥ 400."""

    requests: int
    seconds: float
    transport_errors: int
    refusals: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def check_installed() -> None:
    """BenchError, with the package to install, where wrk is missing."""
    if shutil.which("wrk") is None:
        raise BenchError(
            "wrk, the load generator, is missing; on Debian and Ubuntu: apt install wrk, "
            "on macOS: brew install wrk"
        )


def run(url: str, users: Path, load: Load) -> WrkResult:
    """Runs wrk to its end. BenchError, with its output, if it fails."""
    command = [*_as_batch(), "wrk", "-t1", f"-c{load.connections}"]
    command += [f"-d{max(1, round(load.seconds))}s", f"--timeout={TIMEOUT_S}s"]
    command += ["-s", str(SCRIPT), url]
    done = subprocess.run(
        command,
        env=os.environ | _variables(users, load),
        capture_output=True,
        text=True,
        check=False,
        timeout=load.seconds + SLACK_S,
    )
    found = _RESULT.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise BenchError(f"wrk failed: {done.stdout}{done.stderr}")
    return parse(found[1])


def parse(line: str) -> WrkResult:
    """Reads the RESULT line of load.lua."""
    result = {name: int(value) for name, value in (pair.split("=") for pair in line.split())}
    return WrkResult(
        requests=result["requests"],
        seconds=result["duration_us"] / 1e6,
        transport_errors=result["transport_errors"],
        refusals=result["refusals"],
        p50_ms=result["p50_us"] / 1e3,
        p99_ms=result["p99_us"] / 1e3,
        p999_ms=result["p999_us"] / 1e3,
        max_ms=result["max_us"] / 1e3,
    )


def _as_batch() -> list[str]:
    """On Linux: a wrk that wakes up does not preempt the servers, whose cores it shares, as one on
    a machine of its own would not."""
    return [] if shutil.which("chrt") is None else ["chrt", "--batch", "0"]


def _variables(users: Path, load: Load) -> dict[str, str]:
    return {
        "FINPAY_BENCH_USERS": str(users),
        "FINPAY_BENCH_RUN": f"run-{time.time_ns()}",
        "FINPAY_BENCH_WORKLOAD": load.workload,
        "FINPAY_BENCH_CONNECTIONS": str(load.connections),
        "FINPAY_BENCH_PASSWORD": PASSWORD,
        "FINPAY_BENCH_BATCH_SIZE": str(load.batch_size),
        "FINPAY_BENCH_BATCH_MODE": load.batch_mode,
        "FINPAY_BENCH_RATE": str(load.rate),
        "FINPAY_BENCH_TARGETS": str(load.targets or ""),
    }
