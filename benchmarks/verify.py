"""`finpay ledger verify` as an operator runs it, with its time and what it takes of memory."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.stack import Stack

POLL_S: Final = 0.1

_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_OWN: Final = re.compile(r"^RssAnon:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Proof:
    """Exit code 0 is `clean`. Memory in MiB: the client's peak, and what PostgreSQL's processes
    for this query had of their own at their worst."""

    clean: bool
    seconds: float
    client_mib: float
    server_mib: float
    told: str


def prove(running: Stack) -> Proof:
    """Runs the command to its end, its progress on our output."""
    known = {process.pid for process in _backends(running)}
    started_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "finpay", "ledger", "verify"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": running.database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    client = server = 0.0
    while process.poll() is None:
        client = max(client, _peak(process.pid))
        new = [one for one in _backends(running) if one.pid not in known]
        server = max(server, sum(_own(one) for one in new))
        time.sleep(POLL_S)
    assert process.stdout is not None
    told = process.stdout.read()
    seconds = time.monotonic() - started_s
    return Proof(process.returncode == 0, round(seconds, 1), client, round(server, 1), told)


def _backends(running: Stack) -> list[psutil.Process]:
    return psutil.Process(running.postgres.pid).children()


def _own(process: psutil.Process) -> float:
    """Without shared buffers: they are the server's, even where only this query touched them."""
    return _memory(process.pid, _OWN)


def _peak(pid: int) -> float:
    return _memory(pid, _PEAK)


def _memory(pid: int, field: re.Pattern[str]) -> float:
    """MiB of a process; 0 where it has ended."""
    try:
        found = field.search(Path("/proc", str(pid), "status").read_text())
    except OSError:
        return 0
    return round(int(found[1]) / 1024, 1) if found else 0
