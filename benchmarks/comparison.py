"""Ratios, all taken in one run on one server, in turns, so that a slow moment spares nobody.

Each turn measures everything once, each contestant after a checkpoint, so that none pays for what
the one before it left unwritten. A figure is the median of its turns, a ratio that of their ratios.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import comparisons, sql_only
from benchmarks.rounds import WARM_UP_S, Round, measure
from benchmarks.stack import Stack
from benchmarks.users import User
from benchmarks.wrk import Load, run
from finpay.ledger.batcher import FLIGHTS

CONNECTIONS: Final = 64
CROWD: Final = 512
DIRECT_SIZES: Final = (1, 5, 20, 100, 250, 500)

# What each ratio has to reach, and what it aims at.
GOALS: Final[Mapping[str, tuple[float, float]]] = {
    "http / direct": (0.4, 0.5),
    "http / naive http": (10, 15),
    "http / lean naive http": (10, 15),
    "http / naive sql": (2.5, 3.5),
    "http / tpcb": (1.2, 2),
    "crowd / naive http": (10, 15),
    "crowd / naive sql": (2.5, 3.5),
    "crowd / tpcb": (1.2, 2),
    "hot receiver / uniform": (0.9, 1),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Transfers/s of each contestant (medians), and the ratios between them."""

    per_second: Mapping[str, float]
    ratios: Mapping[str, float]
    turns: list[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Contest:
    """Who takes part: servers, users, as many processes for each API, `seconds` for each run."""

    running: Stack
    people: Sequence[User]
    file: Path
    workers: int
    seconds: float

    def compare(self, turns: int) -> Comparison:
        """Lets everybody run `turns` times."""
        comparisons.prepare(self.running, self.people)
        taken: list[Mapping[str, float]] = []
        for _ in range(turns):
            taken.append(self._turn())
            print("  ".join(f"{name} {value:,.0f}" for name, value in taken[-1].items()))
        per_second = {name: round(median(turn[name] for turn in taken), 1) for name in taken[0]}
        each = [ratios(turn) for turn in taken]
        middle = {name: round(median(one[name] for one in each), 2) for name in GOALS}
        return Comparison(per_second, middle, taken)

    def direct_by_batch_size(self) -> list[sql_only.Direct]:
        """Direct calls over batch sizes."""
        return [asyncio.run(self._direct(size)) for size in DIRECT_SIZES]

    def _turn(self) -> dict[str, float]:
        uniform, hot = self._measured("transfers"), self._measured("hot_receiver")
        crowd = self._measured("transfers", CROWD)
        self._settle()
        called = asyncio.run(self._direct(uniform.mean_batch))
        postgres, users = self.running.postgres, len(self.people)
        told = {
            "http uniform": uniform.transfers_per_second,
            "mean batch": uniform.mean_batch,
            "http hot receiver": hot.transfers_per_second,
            "http crowd": crowd.transfers_per_second,
            "direct": called.per_second,
            "naive http": self._naive("naive_orm"),
            "naive http crowd": self._naive("naive_orm", CROWD),
            "lean naive http": self._naive("naive"),
        }
        self._settle()
        told["naive sql"] = comparisons.bare_sql_per_second(postgres, users, self.seconds)
        self._settle()
        told["tpcb"] = comparisons.tpcb_per_second(postgres, self.seconds)
        return told

    def _settle(self) -> None:
        self.running.postgres.sql("CHECKPOINT")

    def _measured(self, workload: str, connections: int = CONNECTIONS) -> Round:
        self._settle()
        load = Load(workload, connections, self.seconds)
        return measure(self.running, self.file, len(self.people), load)

    def _naive(self, module: str, connections: int = CONNECTIONS) -> float:
        """Started for its turn alone: all of them at once want more connections than there are."""
        self._settle()
        load = Load("transfers", connections, self.seconds)
        with comparisons.naive_api(self.running, module, self.workers) as url:
            run(url, self.file, replace(load, seconds=WARM_UP_S))
            return comparisons.naive_over_http(self.running, url, self.file, load)

    async def _direct(self, batch: float) -> sql_only.Direct:
        return await sql_only.call(
            self.running.database_url,
            self.people,
            batch=batch,
            flights=self.workers * FLIGHTS,
            seconds=self.seconds,
        )


def ratios(per_second: Mapping[str, float]) -> dict[str, float]:
    """Each of GOALS. Against our crowd the naive API may choose how many it serves at once."""
    names = {"http": "http uniform", "uniform": "http uniform"}
    names |= {"hot receiver": "http hot receiver", "crowd": "http crowd"}
    found = {}
    for ratio in GOALS:
        over, _, under = ratio.partition(" / ")
        upper, lower = per_second[names.get(over, over)], per_second[names.get(under, under)]
        if ratio == "crowd / naive http":
            lower = max(lower, per_second["naive http crowd"])
        found[ratio] = round(upper / lower, 2)
    return found
