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
TIMEOUT_S: Final = 10  # above the 5 s within which every request has its answer
SLACK_S: Final = 60  # wrk reads its users before, and waits for answers after

_RESULT: Final = re.compile(r"^RESULT (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, over how many connections, for how long.

    `bulk_size` is items per call; each connection waits `pause_ms` or so before each request.
    """

    workload: str
    connections: int
    seconds: float
    bulk_size: int = 500
    bulk_mode: str = "independent"
    pause_ms: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """What wrk saw. Latencies of all answers in milliseconds; `refusals` are answers ≥ 400."""

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
    """BenchError, with what to do about it, where wrk is missing."""
    if shutil.which("wrk") is None:
        raise BenchError(
            "wrk, the load generator, is missing; on Debian and Ubuntu: apt install wrk, "
            "on macOS: brew install wrk"
        )


def run(url: str, people: Path, load: Load) -> Sent:
    """Runs wrk to its end. BenchError with its own words if it fails."""
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(load.seconds))}s"]
    command += [f"--timeout={TIMEOUT_S}s", "-s", str(SCRIPT), url]
    done = subprocess.run(
        command,
        env=os.environ | _variables(people, load),
        capture_output=True,
        text=True,
        check=False,
        timeout=load.seconds + SLACK_S,
    )
    found = _RESULT.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise BenchError(f"wrk failed: {done.stdout}{done.stderr}")
    return parsed(found[1])


def parsed(line: str) -> Sent:
    """The RESULT line of load.lua."""
    told = {name: int(value) for name, value in (pair.split("=") for pair in line.split())}
    return Sent(
        requests=told["requests"],
        seconds=told["duration_us"] / 1e6,
        transport_errors=told["transport_errors"],
        refusals=told["refusals"],
        p50_ms=told["p50_us"] / 1e3,
        p99_ms=told["p99_us"] / 1e3,
        p999_ms=told["p999_us"] / 1e3,
        max_ms=told["max_us"] / 1e3,
    )


def _variables(people: Path, load: Load) -> dict[str, str]:
    return {
        "FINPAY_BENCH_USERS": str(people),
        "FINPAY_BENCH_RUN": f"run-{time.time_ns()}",
        "FINPAY_BENCH_WORKLOAD": load.workload,
        "FINPAY_BENCH_CONNECTIONS": str(load.connections),
        "FINPAY_BENCH_PASSWORD": PASSWORD,
        "FINPAY_BENCH_BULK_SIZE": str(load.bulk_size),
        "FINPAY_BENCH_BULK_MODE": load.bulk_mode,
        "FINPAY_BENCH_PAUSE_MS": str(load.pause_ms),
    }
