"""How long `finpay serve` takes from its start to the first 200 of /readyz."""

import os
import subprocess
import sys
import time
from statistics import median
from typing import Final

from benchmarks.stack import LIMITS_OFF, STOP_LIMIT_S, Stack, await_ready
from finpay.dev.child_process import free_port

STARTS: Final = 5


def starts(running: Stack, workers: int) -> dict[str, object]:
    """Seconds of each start and their median, beside databases that run already."""
    seconds = [round(_start(running, workers), 3) for _ in range(STARTS)]
    return {"seconds": seconds, "median_s": median(seconds), "workers": workers}


def _start(running: Stack, workers: int) -> float:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": running.database_url,
        "REDIS_URL": running.valkey.url,
        "PORT": str(port),
        "FINPAY_WORKERS": str(workers),
        **LIMITS_OFF,
    }
    started_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "finpay", "serve"], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        await_ready(f"http://127.0.0.1:{port}", process)
        return time.monotonic() - started_s
    finally:
        process.terminate()
        process.wait(STOP_LIMIT_S)
