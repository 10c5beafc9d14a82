"""python -m benchmarks compare --base REF: two source trees in one run, alternately.

The base is a git ref, installed into a temporary virtual environment; the head is this tree. Each
has its own PostgreSQL and Valkey with the same settings, and both get the same load from wrk.
In each repetition every section measures one right after the other, in alternating order. A figure
is the median of the repetitions, a ratio the median of their ratios head / base.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from benchmarks import overload, resource_usage, results, wrk
from benchmarks.bench import Bench
from benchmarks.rounds import BATCHES, Round
from benchmarks.stack import BenchError, Tuning, exit_on_sigterm
from benchmarks.trees import TreeBench, two_benches
from benchmarks.wrk import Load
from finpay.dev.child_process import DevError

USERS: Final = 200
CONNECTIONS: Final = 64
BATCH_CALLERS: Final = 16
PEAK_CONNECTIONS: Final = 128
MAX_OTHERS_SHARE: Final = 0.05  # with more, rates say little; CPU per request still does

Figures = dict[str, float]  # by name, with the unit in it
Section = Callable[[TreeBench, Bench], Figures]


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one figure, and the median of head / base over the repetitions."""

    figure: str
    base: float
    head: float
    ratio: float


def transfers(_: TreeBench, bench: Bench) -> Figures:
    return _round_figures("transfers", _round(bench, "transfers", CONNECTIONS))


def cached_balance(_: TreeBench, bench: Bench) -> Figures:
    done = _round(bench, "balance", CONNECTIONS)
    return {"cached balances/s": done.requests_per_second, "cached balance, CPU µs": _cpu_us(done)}


def hot(_: TreeBench, bench: Bench) -> Figures:
    """To one receiver, and the ratio to uniform transfers measured just before."""
    uniform = _round(bench, "transfers", CONNECTIONS).transfers_per_second
    done = _round(bench, "hot_receiver", CONNECTIONS)
    share = round(done.transfers_per_second / max(1, uniform), 3)
    return {**_round_figures("hot transfers", done), "hot / uniform": share}


def batches(_: TreeBench, bench: Bench) -> Figures:
    return _round_figures("transfers in batches", _round(bench, BATCHES, BATCH_CALLERS))


def overloaded(_: TreeBench, bench: Bench) -> Figures:
    peak = overload.peak(bench, PEAK_CONNECTIONS)
    done, probes = overload.overloaded_round(bench, peak)
    refused = overload.latencies_ms(probes, 503)
    return {
        "overload, offered / peak": round(done.requests_per_second / max(1, peak), 2),
        "overload, kept of the peak": round(done.transfers_per_second / max(1, peak), 3),
        "overload, refusals p99 ms": overload.percentile(refused, 0.99),
    }


def ready(tree: TreeBench, _: Bench) -> Figures:
    started_s = time.monotonic()
    api = tree.start_api("ready")
    took_s = time.monotonic() - started_s
    api.stop()
    return {"ready after s": round(took_s, 3)}


def memory(_: TreeBench, bench: Bench) -> Figures:
    """The peak since the start, so it counts the sections before it."""
    return {"memory of an API process MiB": resource_usage.peaks(bench.stack.pids)["api"]}


SECTIONS: Final[Mapping[str, Section]] = {
    "transfers": transfers,
    "cached_balance": cached_balance,
    "hot": hot,
    "transfer_batches": batches,
    "overload": overloaded,
    "ready": ready,
    "memory": memory,
}


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0, or 2 if it could not run or a ledger was not clean."""
    options = _parse(arguments)
    exit_on_sigterm()
    try:
        wrk.check_installed()
        rows = compare(options)
    except (BenchError, DevError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    _print_table(rows)
    print(json.dumps(_as_json(options, rows)))
    return 0


def compare(options: argparse.Namespace) -> list[Row]:
    """Both trees through all sections. BenchError if a ledger is not clean at the end."""
    measured: list[dict[str, Figures]] = []
    with two_benches(options.base, Tuning(options.workers)) as trees:
        print(f"Installed {options.base}; starting both …", file=sys.stderr, flush=True)
        benches = {tree.name: tree.start(USERS, options.seconds) for tree in trees}
        for number in range(options.repetitions):
            figures: dict[str, Figures] = {tree.name: {} for tree in trees}
            for section in options.sections:
                for tree in trees[:: -1 if number % 2 else 1]:
                    figures[tree.name] |= SECTIONS[section](tree, benches[tree.name])
            measured.append(figures)
            print(f"repetition {number + 1}: {figures}", file=sys.stderr, flush=True)
        for tree in trees:
            tree.command("ledger", "verify")
    return rows_of(measured)


def rows_of(measured: Sequence[Mapping[str, Figures]]) -> list[Row]:
    """One row per figure; `measured` has the figures of base and head for each repetition."""
    rows = []
    for figure in measured[0]["base"]:
        base = [one["base"][figure] for one in measured]
        head = [one["head"][figure] for one in measured]
        pairs = zip(head, base, strict=True)
        ratio = median(one / other if other else 0.0 for one, other in pairs)
        rows.append(Row(figure, median(base), median(head), round(ratio, 3)))
    return rows


def _round(bench: Bench, workload: str, connections: int) -> Round:
    bench.checkpoint()
    done = bench.measure(Load(workload, connections, bench.seconds))
    if done.errors:
        print(f"{workload}: {done.errors} errors {dict(done.statuses)}", file=sys.stderr)
    if done.others_share > MAX_OTHERS_SHARE:
        print(f"{workload}: other processes used {done.others_share:.0%} of the cores",
              file=sys.stderr)  # fmt: skip
    return done


def _round_figures(name: str, done: Round) -> Figures:
    return {
        f"{name}/s": done.transfers_per_second,
        f"{name}, p99 ms": done.p99_ms,
        f"{name}, CPU µs": round(sum(done.cpu_s.values()) * 1e6 / max(1, done.transfers), 1),
    }


def _cpu_us(done: Round) -> float:
    """Of all servers and wrk, per request: less sensitive to other work on the machine."""
    return round(sum(done.cpu_us_per_request.values()), 1)


def _print_table(rows: Sequence[Row]) -> None:
    print(f"{'figure':<32}{'base':>12}{'head':>12}{'head/base':>12}")
    for row in rows:
        print(f"{row.figure:<32}{row.base:>12,.1f}{row.head:>12,.1f}{row.ratio:>12.2f}")


def _as_json(options: argparse.Namespace, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "base": options.base,
        "head": results.commit(),
        "repetitions": options.repetitions,
        "seconds_per_round": options.seconds,
        "workers": options.workers,
        "machine": results.machine(),
        "rows": [asdict(row) for row in rows],
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", required=True, help="a git ref")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="comma separated")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="per round")
    parser.add_argument("--workers", type=int, default=2, help="API processes")
    options = parser.parse_args(arguments)
    options.sections = options.sections.split(",")
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"unknown section {', '.join(sorted(unknown))}; of: {', '.join(SECTIONS)}")
    return options
