"""The time from the start of `finpay serve` to the first 200 of /readyz."""

import time
from statistics import median
from typing import Final

from benchmarks.stack import BenchStack, Tuning

STARTS: Final = 5


def starts(stack: BenchStack, tuning: Tuning) -> dict[str, object]:
    """Seconds of each start and their median, with databases that run already."""
    seconds = [round(start_seconds(stack, tuning), 3) for _ in range(STARTS)]
    return {"seconds": seconds, "median_s": median(seconds), "workers": tuning.workers}


def start_seconds(stack: BenchStack, tuning: Tuning) -> float:
    started_s = time.monotonic()
    api = stack.start_api(tuning.api_environment(), "start")
    try:
        api.await_ready(api.is_ready)
        return time.monotonic() - started_s
    finally:
        api.stop()
