"""The table of goals at the top of the figures of docs/performance.md."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import ratios
from benchmarks.report import tables
from benchmarks.report.tables import Results

TEN_MILLION: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure. `of` returns it, None without a result. `under`: less is better."""

    name: str
    must: float
    aim: float
    of: Callable[[Results], float | None]
    unit: str = ""
    under: bool = False

    def reached(self, value: float) -> str:
        sign = -1 if self.under else 1
        if sign * value >= sign * self.aim:
            return "aim"
        return "must" if sign * value >= sign * self.must else "**no**"


def _round(section: str, workload: str, member: str, **more: int) -> Callable[[Results], Any]:
    def find(found: Results) -> float | None:
        rounds = found.get(section, {}).get("rounds", [])
        wanted = {"workload": workload, **more}
        return next((one[member] for one in rounds if wanted.items() <= one.items()), None)

    return find


def _figure(section: str, *path: str) -> Callable[[Results], Any]:
    def find(found: Results) -> Any:
        value: Any = found.get(section)
        for member in path:
            value = None if value is None else value.get(member)
        return value

    return find


def _ratio(text: str, name: str) -> Goal:
    return Goal(text, *ratios.GOALS[name], _figure("ratios", "comparison", "ratios", name))


def _memory(found: Results) -> float | None:
    """The biggest peak of an API process in any section."""
    rounds = [one for result in found.values() for one in _rounds(result)]
    return max((one["peak_mib"]["api"] for one in rounds), default=None)


def _rounds(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    rounds = result.get("rounds", [])  # a mapping in results of growth, with bigger servers
    return rounds if isinstance(rounds, list) else []


def _kept(found: Results) -> float | None:
    """The smallest share of the empty ledger's speed."""
    grown = tables.grown(found).get(TEN_MILLION, {"kept": []})
    return min((one["kept"] for one in grown["kept"]), default=None)


GOALS: Final = (
    Goal("transfers/s, uniform, 64 connections", 4_000, 5_000,
         _round("connections", "transfers", "transfers_per_second", connections=64)),
    _ratio("the same over direct calls", "http / direct"),
    _ratio("over the naive API, 64 connections each", "http / naive http"),
    _ratio("over the naive API's better figure, 512 connections", "http 512 / naive http"),
    _ratio("over naive bare SQL, 64 connections", "http / naive sql"),
    _ratio("over naive bare SQL, 512 connections", "http 512 / naive sql"),
    _ratio("over pgbench's TPC-B, 64 connections", "http / tpcb"),
    _ratio("hot receiver over uniform", "hot receiver / uniform"),
    Goal("p99 with 32 connections", 20, 12,
         _round("connections", "transfers", "p99_ms", connections=32), " ms", under=True),
    Goal("balance reads/s, cached", 12_000, 15_000,
         _round("workloads", "balance", "requests_per_second")),
    Goal("history reads/s, cached", 10_000, 15_000,
         _round("workloads", "history", "requests_per_second")),
    Goal("transfer batches of 500, transfers/s", 12_000, 20_000,
         _round("transfer_batches", "transfer_batches", "transfers_per_second", batch_size=500)),
    Goal("memory of an API process, the biggest peak", 120, 100, _memory, " MiB",
         under=True),
    Goal("ready after", 1.5, 1, _figure("start", "startup", "median_s"), " s", under=True),
    Goal("10 million rows over an empty ledger, the least of all workloads", 0.9, 0.95, _kept),
    Goal("kept of the peak at twice the load", 0.9, 0.9, _figure("overload", "overload", "kept")),
    Goal("99 % of the refusals within", 100, 100,
         _figure("overload", "overload", "refused_p99_ms"), " ms", under=True),
)  # fmt: skip


def table(found: Results) -> str:
    """A line for each goal with a result."""
    lines = "".join(
        f"| {goal.name} | {goal.must:,g}{goal.unit} | {goal.aim:,g}{goal.unit} "
        f"| {_format(value)}{goal.unit} | {goal.reached(value)} |\n"
        for goal in GOALS
        if (value := goal.of(found)) is not None
    )
    return (
        "## Goals\n\n| figure | must | aim | measured | reached |\n|---|--:|--:|--:|---|\n" + lines
        if lines
        else ""
    )


def _format(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
