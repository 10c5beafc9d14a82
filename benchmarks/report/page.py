"""python -m benchmarks.report.page: writes tables and plots of the results into docs/performance.

It replaces the part of docs/performance.md between two marks; the rest is written by hand.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.report import goals, tables
from benchmarks.report.plots import Plot, draw
from benchmarks.report.tables import Results
from benchmarks.results import FOLDER

DOCS: Final = Path(__file__).parents[2] / "docs"
BEGIN: Final = (
    "<!-- measured: from here to the next mark `python -m benchmarks.report.page` writes -->"
)
END: Final = "<!-- measured: end -->"

_STAMP: Final = re.compile(r"-\d{8}-\d{6}$")


def main() -> None:
    write()


def write(results: Path = FOLDER, docs: Path = DOCS) -> None:
    """Writes the newest result of each section into the page, and the plots next to it."""
    found = newest(results)
    folder = docs / "performance"
    folder.mkdir(exist_ok=True)
    for name, plot in plots(found).items():
        draw(plot, folder / f"{name}.svg")
    page = docs / "performance.md"
    text = page.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    parts = "\n".join(part for part in (goals.table(found), tables.page(found)) if part)
    page.write_text(f"{head}{BEGIN}\n\n{parts}\n{END}{tail}", "utf-8")


def newest(results: Path) -> Results:
    """The newest file of each section, by the section's name."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(results.glob("*.json"), key=lambda path: path.stem[-15:]):
        found[_STAMP.sub("", path.stem)] = json.loads(path.read_text("utf-8"))
    return found


def plots(found: Results) -> dict[str, Plot]:
    """By file name, for the sections with a result."""
    made: dict[str, Plot] = {}
    if "connections" in found:
        made |= _over_connections(found)
    if "transfer_batches" in found:
        made["batches"] = _over_batches(found["transfer_batches"])
    if grown := tables.grown(found):
        made["growth"] = _over_growth(grown)
    if "soak" in found:
        made["memory"] = _over_time(found["soak"]["soak"]["samples"])
    return made


def _over_connections(found: Results) -> dict[str, Plot]:
    few = found["connections"]["rounds"]
    many = found.get("many_users", {}).get("rounds", [])
    names = {"transfers": "200 users", "hot_receiver": "one receiver", "hot_sender": "one sender"}
    lines = {name: _line(few, kind, "transfers_per_second") for kind, name in names.items()}
    lines["10 000 users"] = _line(many, "transfers", "transfers_per_second")
    over = {x: f"{x:.0f}" for x, _ in lines["200 users"]}
    shares = {"p50": "p50_ms", "p99": "p99_ms", "p99.9": "p999_ms"}
    waits = {name: _line(few, "transfers", member) for name, member in shares.items()}
    return {
        "throughput": Plot(
            "Transfers per second", "connections", "transfers/s", _not_empty(lines), over
        ),
        "latency": Plot("Latency of a transfer", "connections", "ms", _not_empty(waits), over),
    }


def _over_batches(result: Mapping[str, Any]) -> Plot:
    calls = [
        (one["batch_size"], one["transfers_per_second"])
        for one in result["rounds"]
        if one["batch_mode"] == "independent"
    ]
    direct = [(one["batch"], one["per_second"]) for one in result["direct"]]
    lines = {"transfer batches over HTTP": calls, "posting function, per batch": direct}
    ticks = {float(x): f"{x:,}" for x in sorted({x for line in lines.values() for x, _ in line})}
    hidden = {5.0, 20.0, 50.0, 250.0}  # too close to their neighbours
    shown = {x: text for x, text in ticks.items() if x not in hidden}
    return Plot(
        "Transfers per second", "transfers per batch", "transfers/s", _not_empty(lines), shown
    )


def _over_growth(grown: Mapping[int, Mapping[str, Any]]) -> Plot:
    biggest = grown[max(grown)]
    lines: dict[str, list[tuple[float, float]]] = {}
    for one in biggest["kept"]:
        name = f"{one['workload']}, {one['connections']}"
        lines[name] = [(0, 100)]
        for size in sorted(grown):
            lines[name] += [
                (size, 100 * other["kept"])
                for other in grown[size]["kept"]
                if (other["workload"], other["connections"])
                == (one["workload"], one["connections"])
            ]
    some = {name: line for name, line in lines.items() if name.endswith(", 64")}
    ticks = {0.0: "empty"} | {float(size): f"{size // 1_000_000} M" for size in sorted(grown)}
    positions = {x: float(n) for n, x in enumerate(ticks)}
    moved = {name: [(positions[x], y) for x, y in line] for name, line in some.items()}
    return Plot(
        "Speed kept by a grown ledger",
        "transactions in the ledger",
        "% of the empty ledger's",
        moved,
        {positions[x]: text for x, text in ticks.items()},
        logarithmic=False,
    )


def _over_time(samples: Sequence[Mapping[str, Any]]) -> Plot:
    lines = {
        f"process {n + 1}": [
            (one["second"] / 60, one["resident_mib"][n])
            for one in samples
            if len(one["resident_mib"]) > n
        ]
        for n in range(max(len(one["resident_mib"]) for one in samples))
    }
    last = int(samples[-1]["second"] / 60)
    ticks = {float(minute): str(minute) for minute in range(last + 1)}
    return Plot(
        "Memory of the API processes", "minutes", "MiB resident", lines, ticks, logarithmic=False
    )


def _line(rounds: Sequence[Mapping[str, Any]], kind: str, member: str) -> list[tuple[float, float]]:
    return [(one["connections"], one[member]) for one in rounds if one["workload"] == kind]


def _not_empty(lines: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    return {name: line for name, line in lines.items() if line}


if __name__ == "__main__":
    main()
