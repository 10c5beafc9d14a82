"""Ratios, measured in one run on one PostgreSQL, alternately: slow moments affect every baseline.

Each repetition measures FinPay and every baseline once, each after a checkpoint, so that none
writes the dirty pages of the one before. A figure is the median of the repetitions, a ratio the
median of their ratios.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from benchmarks import baselines, sql_only, wrk
from benchmarks.bench import Bench
from benchmarks.rounds import WARM_UP_S, Round
from benchmarks.wrk import Load
from finpay.ledger.batcher import MAX_IN_FLIGHT

CONNECTIONS: Final = 64
MANY_CONNECTIONS: Final = 512
DIRECT_SIZES: Final = (1, 5, 20, 100, 250, 500)

# The required and the desired value of each ratio.
GOALS: Final[Mapping[str, tuple[float, float]]] = {
    "http / direct": (0.4, 0.5),
    "http / naive http": (10, 15),
    "http / lean naive http": (10, 15),
    "http / naive sql": (2.5, 3.5),
    "http / tpcb": (1.2, 2),
    "http 512 / naive http": (10, 15),
    "http 512 / naive sql": (2.5, 3.5),
    "http 512 / tpcb": (1.2, 2),
    "hot receiver / uniform": (0.9, 1),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Transfers/s of FinPay and of each baseline (medians), and the ratios between them."""

    per_second: Mapping[str, float]
    ratios: Mapping[str, float]
    repetitions: list[Mapping[str, float]]


def compare(bench: Bench, repetitions: int) -> Comparison:
    """Measures FinPay and every baseline `repetitions` times."""
    baselines.prepare(bench.stack, bench.users)
    measured: list[Mapping[str, float]] = []
    for _ in range(repetitions):
        measured.append(_measure_once(bench))
        print("  ".join(f"{name} {value:,.0f}" for name, value in measured[-1].items()))
    per_second = {name: round(median(one[name] for one in measured), 1) for name in measured[0]}
    each = [ratios(one) for one in measured]
    medians = {name: round(median(one[name] for one in each), 2) for name in GOALS}
    return Comparison(per_second, medians, measured)


def direct_by_batch_size(bench: Bench) -> list[sql_only.DirectCalls]:
    """Direct calls of the posting function over batch sizes."""
    return [asyncio.run(_direct(bench, size)) for size in DIRECT_SIZES]


def _measure_once(bench: Bench) -> dict[str, float]:
    uniform, hot = _measured(bench, "transfers"), _measured(bench, "hot_receiver")
    many = _measured(bench, "transfers", MANY_CONNECTIONS)
    bench.checkpoint()
    direct = asyncio.run(_direct(bench, uniform.mean_batch))
    postgres, users = bench.stack.postgres, len(bench.users)
    figures = {
        "http uniform": uniform.transfers_per_second,
        "mean batch": uniform.mean_batch,
        "http hot receiver": hot.transfers_per_second,
        "http 512": many.transfers_per_second,
        "direct": direct.per_second,
        "naive http": _naive(bench, "naive_orm"),
        "naive http 512": _naive(bench, "naive_orm", MANY_CONNECTIONS),
        "lean naive http": _naive(bench, "naive"),
    }
    bench.checkpoint()
    figures["naive sql"] = baselines.bare_sql_per_second(postgres, users, bench.seconds)
    bench.checkpoint()
    figures["tpcb"] = baselines.tpcb_per_second(postgres, bench.seconds)
    return figures


def _measured(bench: Bench, workload: str, connections: int = CONNECTIONS) -> Round:
    bench.checkpoint()
    return bench.measure(Load(workload, connections, bench.seconds))


def _naive(bench: Bench, module: str, connections: int = CONNECTIONS) -> float:
    """Runs only while it is measured: PostgreSQL has too few connections for all APIs at once."""
    bench.checkpoint()
    load = Load("transfers", connections, bench.seconds)
    with baselines.naive_api(bench.stack, module, bench.tuning.workers) as url:
        wrk.run(url, bench.file, replace(load, seconds=WARM_UP_S))
        return baselines.naive_over_http(bench.stack, url, bench.file, load)


async def _direct(bench: Bench, batch: float) -> sql_only.DirectCalls:
    return await sql_only.call(
        bench.stack.database_url,
        bench.users,
        batch=batch,
        in_flight=bench.tuning.workers * MAX_IN_FLIGHT,
        seconds=bench.seconds,
    )


def ratios(per_second: Mapping[str, float]) -> dict[str, float]:
    """Each of GOALS. With 512 connections, the naive API counts with its better figure."""
    names = {"http": "http uniform", "uniform": "http uniform", "hot receiver": "http hot receiver"}
    found = {}
    for ratio in GOALS:
        over, _, under = ratio.partition(" / ")
        upper, lower = per_second[names.get(over, over)], per_second[names.get(under, under)]
        if ratio == "http 512 / naive http":
            lower = max(lower, per_second["naive http 512"])
        found[ratio] = round(upper / lower, 2)
    return found
