"""Does memory stay flat? The mixed load for minutes, memory of every API process on the way."""

import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks import resource_usage
from benchmarks.rounds import measure
from benchmarks.stack import Stack
from benchmarks.wrk import Load

CONNECTIONS: Final = 64
SAMPLE_EACH_S: Final = 10.0
# Buffers, caches and connections fill in the beginning; growth after that would be a leak.
SETTLED_AFTER: Final = 0.2  # of the run


def soak(running: Stack, people: Path, users: int, seconds: float) -> dict[str, Any]:
    """Resident memory (MiB) of each API process over the run, and how much it grew."""
    samples: list[dict[str, Any]] = []
    stopping = threading.Event()

    def sample() -> None:
        started_s = time.monotonic()
        while not stopping.wait(SAMPLE_EACH_S):
            found = resource_usage.memory(running.api.pid)
            samples.append(
                {
                    "second": round(time.monotonic() - started_s),
                    "resident_mib": [one.resident for one in found],
                    "own_mib": [one.own for one in found],
                }
            )

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    measured = measure(running, people, users, Load("mix", CONNECTIONS, seconds))
    stopping.set()
    thread.join()
    return {"round": asdict(measured), "samples": samples, **growth(samples)}


def growth(samples: list[dict[str, Any]]) -> dict[str, float]:
    """The biggest process: once settled, at the end, and the growth between in per cent."""
    biggest = [max(sample["resident_mib"]) for sample in samples if sample["resident_mib"]]
    if not biggest:
        return {"settled_mib": 0, "last_mib": 0, "peak_mib": 0, "growth_percent": 0}
    settled = biggest[min(len(biggest) - 1, int(len(biggest) * SETTLED_AFTER))]
    return {
        "settled_mib": settled,
        "last_mib": biggest[-1],
        "peak_mib": max(biggest),
        "growth_percent": round((biggest[-1] / settled - 1) * 100, 1),
    }
