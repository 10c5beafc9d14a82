"""Memory of every API process during minutes of the mixed load: does it stay constant?"""

import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks import resource_usage
from benchmarks.rounds import measure
from benchmarks.stack import BenchStack
from benchmarks.wrk import Load

CONNECTIONS: Final = 64
SAMPLE_EACH_S: Final = 10.0
# Buffers, caches and connections fill at first; later growth is a leak.
STEADY_AFTER: Final = 0.2  # of the run


def soak(stack: BenchStack, users: Path, count: int, seconds: float) -> dict[str, Any]:
    """Resident memory (MiB) of each API process over the run, and how much it grew."""
    samples: list[dict[str, Any]] = []
    stopping = threading.Event()

    def sample() -> None:
        started_s = time.monotonic()
        while not stopping.wait(SAMPLE_EACH_S):
            found = resource_usage.memory(stack.api.pid)
            samples.append(
                {
                    "second": round(time.monotonic() - started_s),
                    "resident_mib": [one.resident for one in found],
                    "own_mib": [one.own for one in found],
                }
            )

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    measured = measure(stack, users, count, Load("mix", CONNECTIONS, seconds))
    stopping.set()
    thread.join()
    return {"round": asdict(measured), "samples": samples, **growth(samples)}


def growth(samples: list[dict[str, Any]]) -> dict[str, float]:
    """The biggest process: after the warm-up, at the end, and the growth in per cent."""
    biggest = [max(sample["resident_mib"]) for sample in samples if sample["resident_mib"]]
    if not biggest:
        return {"steady_mib": 0, "last_mib": 0, "peak_mib": 0, "growth_percent": 0}
    steady = biggest[min(len(biggest) - 1, int(len(biggest) * STEADY_AFTER))]
    return {
        "steady_mib": steady,
        "last_mib": biggest[-1],
        "peak_mib": max(biggest),
        "growth_percent": round((biggest[-1] / steady - 1) * 100, 1),
    }
