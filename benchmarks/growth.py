"""python -m benchmarks.growth: does a ledger of millions stay as fast as an empty one?

Loads a made-up history (benchmarks/synthetic_ledger.py) through COPY, then measures every workload
on it and
on an empty ledger with the same users, in turns, so that a slow moment of the machine spares
neither. Then the pages of the account with the longest history, and `ledger verify`.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import asyncpg

from benchmarks import results, verify, wrk
from benchmarks.copy_loader import load
from benchmarks.report import page
from benchmarks.rounds import Round
from benchmarks.sections import Bench, Options
from benchmarks.stack import BenchError, Knobs, stack, stop_in_good_order
from benchmarks.synthetic_ledger import History, Plan
from benchmarks.users import write_users
from benchmarks.wrk import Load
from finpay.db import queries
from finpay.dev.child_process import DevError

# All but logins, which are a password's hash: a history's users have none.
LOADS: Final[Sequence[tuple[str, int]]] = (
    ("transfers", 32),
    ("transfers", 64),
    ("transfers", 128),
    ("hot_receiver", 64),
    ("hot_sender", 64),
    ("balance", 64),
    ("history", 64),
    ("after_write", 64),
    ("mix", 64),
    ("replays", 64),
    ("bulk", 16),
)
# A checkpoint comes before, and after it each page is written whole to the WAL the first time: a
# grown ledger has many, and this is long enough to touch those of every account.
FIRST_LOAD: Final = Load("transfers", 128, 25)
READS: Final = frozenset({"balance", "history"})
FEW_A_ROUND: Final = frozenset({"bulk"})  # some hundred requests: these take twice the turns
READERS: Final = 1_000  # whose reads a second of warming up brings into the cache
PAGE: Final = 21  # 20 and one to know whether there are more
END: Final = 2**63 - 1
NO_FILTERS: Final = (None,) * 7
BIG: Final = 0  # the account with the long history is the first

_SQL: Final = queries.load("finpay.ledger")


def main() -> int:
    """The exit code: 0, or 2 if it could not run or the ledger was not clean."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--transactions", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--home", type=Path, help="keeps the ledger there for the next time")
    parser.add_argument("--only", choices=["load", "rounds", "pages", "verify"])
    parser.add_argument("--workloads", help="of the rounds; all unless said")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pg", action="append", default=[], help="name=value for PostgreSQL")
    options = parser.parse_args()
    stop_in_good_order()
    home = options.home or Path(tempfile.mkdtemp(prefix="finpay-growth-"))
    try:
        wrk.check_installed()
        _grow(home, options)
        page.write()
        return 0
    except (BenchError, DevError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    finally:
        if options.home is None:
            shutil.rmtree(home, ignore_errors=True)


def _grow(home: Path, options: argparse.Namespace) -> None:
    plan = Plan(options.transactions, options.users, options.transactions // 10)
    if not (home / "grown").exists():
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o755)
        load(home / "grown", plan)
        load(home / "empty", Plan(0, options.users, 0))
    settings = dict(pair.split("=", 1) for pair in options.pg)
    chosen = Options(Knobs(options.workers, {}, settings), options.seconds, options.turns)
    told: dict[str, Any] = {"settings": chosen.as_json(), "plan": asdict(plan)}
    with stack(chosen.knobs, home / "grown") as grown:
        if options.only in {None, "rounds"}:
            with stack(chosen.knobs, home / "empty") as empty:
                pair = {"empty": _bench(empty, plan), "grown": _bench(grown, plan)}
                told |= compare(pair, chosen, _loads(options.workloads))
        if options.only in {None, "pages"}:
            told["pages"] = asyncio.run(pages(grown.database_url, History(plan)))
            print(json.dumps(told["pages"], indent=1))
        if options.only in {None, "verify"}:
            proof = verify.prove(grown)
            print(proof.told, proof)
            told["verify"] = asdict(proof)
            if not proof.clean:
                raise BenchError("ledger verify found violations")
    if options.only != "load":
        part = "_".join([options.only or "all", *(options.workloads or "").split(",")]).strip("_")
        results.write(f"growth-{part}-{options.transactions}", told)


def _loads(names: str | None) -> Sequence[tuple[str, int]]:
    return [one for one in LOADS if names is None or one[0] in names.split(",")]


def _bench(running: Any, plan: Plan) -> Bench:
    people = History(plan).people()
    bench = Bench(running, people, write_users(people, running.folder / "people"))
    wrk.run(running.url, bench.file, FIRST_LOAD)
    return bench


def _for(workload: str, bench: Bench) -> Bench:
    """The same with fewer users, for what comes from the cache."""
    if workload not in READS:
        return bench
    few = list(bench.people[:READERS])
    return replace(bench, people=few, file=write_users(few, bench.running.folder / "readers"))


def compare(
    pair: Mapping[str, Bench], chosen: Options, loads: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    """The rounds of both, and what the grown one keeps of the empty one's speed.

    Each turn has both, once in this order and once in that.
    """
    rounds: dict[str, list[Round]] = {name: [] for name in pair}
    results.print_head()
    for workload, connections in loads:
        asked = {name: _for(workload, bench) for name, bench in pair.items()}
        for turn in range(chosen.turns * (2 if workload in FEW_A_ROUND else 1)):
            for name in sorted(asked, reverse=bool(turn % 2)):
                rounds[name].append(asked[name].round(workload, connections, chosen.seconds))
    return {
        "rounds": {name: results.rounds_as_json(taken) for name, taken in rounds.items()},
        "kept": [kept(rounds, workload, connections) for workload, connections in loads],
    }


def kept(rounds: Mapping[str, Sequence[Round]], workload: str, connections: int) -> dict[str, Any]:
    """Requests/s and processor time per request of both, and the ratios grown to empty: medians,
    those of the ratios over turns, as the machine's speed changes from minute to minute."""
    speeds: dict[str, list[float]] = {}
    cpu_us: dict[str, list[float]] = {}
    for name, taken in rounds.items():
        mine = [one for one in taken if (one.workload, one.connections) == (workload, connections)]
        speeds[name] = [one.requests_per_second for one in mine]
        cpu_us[name] = [sum(one.cpu_us_per_request.values()) for one in mine]
    return {
        "workload": workload,
        "connections": connections,
        "requests_per_second": {name: round(median(each), 1) for name, each in speeds.items()},
        "cpu_us_per_request": {name: round(median(each), 1) for name, each in cpu_us.items()},
        "kept": _middle_ratio(speeds["grown"], speeds["empty"]),
        "kept_by_cpu": _middle_ratio(cpu_us["empty"], cpu_us["grown"]),
    }


def _middle_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return round(median(one / other for one, other in zip(over, under, strict=True)), 3)


async def pages(database_url: str, history: History) -> list[dict[str, Any]]:
    """What the first, the middle and the last page of the longest history cost to read."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET plan_cache_mode = force_custom_plan")  # as the app's own
    account = history.people()[BIG].account_id
    version = await connection.fetchval(
        "SELECT version FROM ledger.accounts WHERE id = $1", account
    )
    places = {"first": (END, END)}
    for name, at in {"middle": version // 2, "last": PAGE}.items():
        number = await connection.fetchval(
            "SELECT sequence FROM ledger.entries WHERE account_id = $1 AND version = $2",
            account,
            at,
        )
        places[name] = (at, number)
    told = []
    for name, (before, step) in places.items():
        entries = (account, before, None, None, PAGE)
        steps = (account, before, step, 0, 0, *NO_FILTERS, PAGE)
        for query, arguments in (("entries_page", entries), ("transactions_page", steps)):
            found = await _explained(connection, getattr(_SQL, query), arguments)
            told.append({"page": name, "query": query, "of_entries": version, **found})
    await connection.close()
    return told


async def _explained(
    connection: asyncpg.Connection, query: str, arguments: tuple[object, ...]
) -> dict[str, Any]:
    """Buffers touched, rows, and milliseconds with all of them in memory."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"
    await connection.fetchval(explain, *arguments)
    plan = json.loads(await connection.fetchval(explain, *arguments))[0]
    top = plan["Plan"]
    return {
        "buffers": top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        "rows": round(top["Actual Rows"]),
        "milliseconds": round(plan["Execution Time"], 3),
    }


if __name__ == "__main__":
    sys.exit(main())
