"""What was to be reached and what was: the table at the top of docs/performance.md's figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Found = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure. `of` finds it, None where it was not measured. Less is better `under` a bound."""

    name: str
    must: float
    aim: float
    of: Callable[[Found], float | None]
    unit: str = ""
    under: bool = False

    def reached(self, value: float) -> str:
        sign = -1 if self.under else 1
        if sign * value >= sign * self.aim:
            return "aim"
        return "must" if sign * value >= sign * self.must else "**no**"


def _round(section: str, workload: str, member: str, **more: int) -> Callable[[Found], Any]:
    def find(found: Found) -> float | None:
        rounds = found.get(section, {}).get("rounds", [])
        wanted = {"workload": workload, **more}
        return next((one[member] for one in rounds if wanted.items() <= one.items()), None)

    return find


def _told(section: str, *path: str) -> Callable[[Found], Any]:
    def find(found: Found) -> Any:
        value: Any = found.get(section)
        for member in path:
            value = None if value is None else value.get(member)
        return value

    return find


def _ratio(name: str) -> Callable[[Found], Any]:
    return _told("ratios", "comparison", "ratios", name)


def _memory(found: Found) -> float | None:
    """The most that any API process of any section ever had."""
    rounds = [one for told in found.values() for one in _rounds(told)]
    return max((one["peak_mib"]["api"] for one in rounds), default=None)


def _rounds(told: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    rounds = told.get("rounds", [])  # by ledger where it has grown, which is another server's size
    return rounds if isinstance(rounds, list) else []


def _kept(found: Found) -> float | None:
    """What the workload keeps that keeps the least. A later file is a repeated measurement."""
    kept = {
        (one["workload"], one["connections"]): one["kept"]
        for name, told in found.items()
        if name.startswith("growth-") and name.endswith("-10000000")
        for one in told.get("kept", [])
    }
    return min(kept.values(), default=None)


GOALS: Final = (
    Goal("transfers/s, uniform, 64 connections", 4_000, 5_000,
         _round("connections", "transfers", "transfers_per_second", connections=64)),
    Goal("the same over direct calls", 0.4, 0.5, _ratio("http / direct")),
    Goal("over the naive API, 64 connections each", 10, 15, _ratio("http / naive http")),
    Goal("over the naive API, 512 connections, it with its best", 10, 15,
         _ratio("crowd / naive http")),
    Goal("over naive bare SQL, 64 connections", 2.5, 3.5, _ratio("http / naive sql")),
    Goal("over naive bare SQL, 512 connections", 2.5, 3.5, _ratio("crowd / naive sql")),
    Goal("over pgbench's TPC-B, 64 connections", 1.2, 2, _ratio("http / tpcb")),
    Goal("hot receiver over uniform", 0.9, 1, _ratio("hot receiver / uniform")),
    Goal("p99 with 32 connections", 20, 12,
         _round("connections", "transfers", "p99_ms", connections=32), " ms", under=True),
    Goal("balance reads/s, cached", 12_000, 15_000,
         _round("workloads", "balance", "requests_per_second")),
    Goal("history reads/s, cached", 10_000, 15_000,
         _round("workloads", "history", "requests_per_second")),
    Goal("bulk, 500 a call, transfers/s", 12_000, 20_000,
         _round("bulk", "bulk", "transfers_per_second", bulk_size=500)),
    Goal("memory of an API process, the most in all sections", 120, 100, _memory, " MiB",
         under=True),
    Goal("ready after", 1.5, 1, _told("start", "startup", "median_s"), " s", under=True),
    Goal("10 million rows over an empty ledger, the least of all workloads", 0.9, 0.95, _kept),
    Goal("kept of the peak at twice the load", 0.9, 0.9, _told("overload", "overload", "kept")),
    Goal("99 % of the refusals within", 100, 100,
         _told("overload", "overload", "refused_p99_ms"), " ms", under=True),
)  # fmt: skip


def table(found: Found) -> str:
    """A line for each goal that was measured."""
    lines = "".join(
        f"| {goal.name} | {goal.must:,g}{goal.unit} | {goal.aim:,g}{goal.unit} "
        f"| {_shown(value)}{goal.unit} | {goal.reached(value)} |\n"
        for goal in GOALS
        if (value := goal.of(found)) is not None
    )
    return (
        "## What was to be reached\n\n"
        "| figure | must | aim | measured | reached |\n|---|--:|--:|--:|---|\n" + lines
        if lines
        else ""
    )


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
