"""`finpay ledger verify` as an operator runs it: its result, time and memory."""

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.stack import BenchStack
from tests.support.environment import clean_environment

POLL_S: Final = 0.1

_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_OWN: Final = re.compile(r"^RssAnon:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verification:
    """`clean` is exit code 0. Memory in MiB: the peak of the command, and of the memory that
    PostgreSQL's processes for this query do not share."""

    clean: bool
    seconds: float
    client_mib: float
    server_mib: float
    output: str


def print_result(stack: BenchStack) -> bool:
    """Verifies, prints whether the ledger is clean or what is not, and returns whether it is."""
    found = verify(stack)
    print(f"ledger verify: {'clean' if found.clean else found.output}")
    return found.clean


def verify(stack: BenchStack) -> Verification:
    """Runs the command to its end."""
    known = {process.pid for process in _backends(stack)}
    started_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "finpay", "ledger", "verify"],
        env=clean_environment(DATABASE_URL=stack.database_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    client = server = 0.0
    while process.poll() is None:
        client = max(client, _peak(process.pid))
        new = [one for one in _backends(stack) if one.pid not in known]
        server = max(server, sum(_own(one) for one in new))
        time.sleep(POLL_S)
    assert process.stdout is not None
    output = process.stdout.read()
    seconds = time.monotonic() - started_s
    clean = process.returncode == 0
    return Verification(clean, round(seconds, 1), client, round(server, 1), output)


def _backends(stack: BenchStack) -> list[psutil.Process]:
    return psutil.Process(stack.postgres.pid).children()


def _own(process: psutil.Process) -> float:
    """Without shared buffers."""
    return _memory(process.pid, _OWN)


def _peak(pid: int) -> float:
    return _memory(pid, _PEAK)


def _memory(pid: int, field: re.Pattern[str]) -> float:
    """MiB of a process; 0 where it has exited."""
    try:
        found = field.search(Path("/proc", str(pid), "status").read_text())
    except OSError:
        return 0
    return round(int(found[1]) / 1024, 1) if found else 0
