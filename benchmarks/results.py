"""Results: a line per round on the terminal, and a JSON file with machine, commit and settings."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.rounds import Round

FOLDER: Final = Path(__file__).with_name("results")
STAMP_PATTERN: Final = "[0-9]" * 8 + "-" + "[0-9]" * 6
_HEAD: Final = (
    f"{'workload':<17}{'conns':>6}{'req/s':>8}{'tx/s':>8}{'p50 ms':>8}{'p99':>8}{'p99.9':>8}"
    f"{'errors':>7}{'batch':>7}{'WAL/tx':>7}{'others':>7}"
    "   CPU µs per request: api, postgres, valkey, wrk | seconds of each"
)


def print_head() -> None:
    print(f"\n{_HEAD}", flush=True)


def print_round(one: Round) -> None:
    cpu = "  ".join(f"{one.cpu_us_per_request[name]:.0f}" for name in one.cpu_us_per_request)
    seconds = "  ".join(f"{spent:.1f}" for spent in one.cpu_s.values())
    refused = f"  {dict(one.statuses)}" if one.statuses else ""
    print(
        f"{one.workload:<17}{one.connections:>6}{one.requests_per_second:>8.0f}"
        f"{one.transfers_per_second:>8.0f}{one.p50_ms:>8.1f}{one.p99_ms:>8.1f}{one.p999_ms:>8.1f}"
        f"{one.errors:>7}{one.mean_batch:>7.1f}{one.wal_bytes_per_transfer:>7}"
        f"{one.others_share:>7.0%}   {cpu} | {seconds}{refused}",
        flush=True,
    )


def print_memory(last: Round) -> None:
    """After all rounds of a section, whose peaks these are."""
    for one in last.memory_mib:
        print(f"API process: peak {one.peak} MiB, {one.proportional} PSS, {one.own} its own")
    print(
        "biggest process: "
        + ", ".join(f"{name} {peak} MiB" for name, peak in last.peak_mib.items())
    )


def rounds_as_json(rounds: list[Round]) -> list[dict[str, Any]]:
    return [asdict(one) for one in rounds]


def write(name: str, figures: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Writes the figures with time, commit and machine, and removes the older file of `name`."""
    now = datetime.now(UTC)
    folder.mkdir(exist_ok=True)
    for older in folder.glob(f"{name}-{STAMP_PATTERN}.json"):
        older.unlink()
    path = folder / f"{name}-{now:%Y%m%d-%H%M%S}.json"
    whole = {
        "measured_at": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        **figures,
    }
    path.write_text(json.dumps(whole, indent=1) + "\n")
    print(f"written to {os.path.relpath(path)}")
    return path


def machine() -> dict[str, Any]:
    """The hardware and the interpreter."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def commit() -> str:
    """Abbreviated, with a plus where src had uncommitted changes."""
    here = Path(__file__).parent
    try:
        head = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=here, text=True)
        changed = subprocess.check_output(
            ["git", "status", "--porcelain", "--", "../src"], cwd=here, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+" if changed else "")
