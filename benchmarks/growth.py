"""python -m benchmarks.growth: does a ledger of millions stay as fast as an empty one?

Loads a synthetic history (benchmarks/synthetic_ledger.py) through COPY, then measures every
workload on it and on an empty ledger with the same users, alternately. Then the pages of the
account with the longest history, and `ledger verify`. Only a whole run writes a result.
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
from benchmarks.bench import Bench
from benchmarks.copy_loader import load
from benchmarks.report import page
from benchmarks.rounds import BATCHES, READS, Round
from benchmarks.sections import Options
from benchmarks.stack import BenchError, BenchStack, Tuning, exit_on_sigterm, running_stack
from benchmarks.synthetic_ledger import History, Plan
from benchmarks.users import write_users
from benchmarks.wrk import Load
from finpay.db import queries
from finpay.dev.child_process import DevError

# All but logins: the users of the history have no password.
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
    (BATCHES, 16),
)
# After a checkpoint the first change of a page writes the whole page to the WAL: this load is long
# enough to touch the pages of every account of the grown ledger.
FIRST_LOAD: Final = Load("transfers", 128, 25)
NOISY: Final = frozenset(
    {BATCHES}
)  # some hundred requests per round: these get twice the repetitions
READERS: Final = 1_000  # few enough that the warm-up caches the reads of each
PAGE: Final = 21  # 20, and one to know whether there are more
END: Final = 2**63 - 1
NO_FILTERS: Final = (None,) * 7
BIG: Final = 0  # the first account has the long history

_SQL: Final = queries.load("finpay.ledger")


def main() -> int:
    """The exit code: 0, or 2 if it could not run or the ledger was not clean."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--transactions", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--home", type=Path, help="keep the ledger there for the next run")
    parser.add_argument("--only", choices=["load", "rounds", "pages", "verify"])
    parser.add_argument("--workloads", help="of the rounds; default: all")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pg", action="append", default=[], help="name=value for PostgreSQL")
    options = parser.parse_args()
    exit_on_sigterm()
    home = options.home or Path(tempfile.mkdtemp(prefix="finpay-growth-"))
    try:
        wrk.check_installed()
        _measure_growth(home, options)
        return 0
    except (BenchError, DevError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    finally:
        if options.home is None:
            shutil.rmtree(home, ignore_errors=True)


def _measure_growth(home: Path, options: argparse.Namespace) -> None:
    plan = Plan(options.transactions, options.users, options.transactions // 10)
    if not (home / "grown").exists():
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o755)
        load(home / "grown", plan)
        load(home / "empty", Plan(0, options.users, 0))
    settings = dict(pair.split("=", 1) for pair in options.pg)
    chosen = Options(Tuning(options.workers, {}, settings), options.seconds, options.repetitions)
    figures: dict[str, Any] = {"settings": chosen.as_json(), "plan": asdict(plan)}
    with running_stack(chosen.tuning, home / "grown") as grown:
        if options.only in {None, "rounds"}:
            with running_stack(chosen.tuning, home / "empty") as empty:
                pair = {"empty": _bench(empty, plan, chosen), "grown": _bench(grown, plan, chosen)}
                figures |= compare(pair, chosen.repetitions, _loads(options.workloads))
        if options.only in {None, "pages"}:
            figures["pages"] = asyncio.run(pages(grown.database_url, History(plan)))
            print(json.dumps(figures["pages"], indent=1))
        if options.only in {None, "verify"}:
            verified = verify.verify(grown)
            print(verified.output, verified)
            figures["verify"] = asdict(verified)
            if not verified.clean:
                raise BenchError("ledger verify found violations")
    if options.only is None and options.workloads is None:
        results.write(f"growth-{options.transactions}", figures)
        page.write()


def _loads(names: str | None) -> Sequence[tuple[str, int]]:
    return [one for one in LOADS if names is None or one[0] in names.split(",")]


def _bench(stack: BenchStack, plan: Plan, chosen: Options) -> Bench:
    users = History(plan).users()
    file = write_users(users, stack.folder / "users")
    wrk.run(stack.url, file, FIRST_LOAD)
    return Bench(stack, chosen.tuning, users, file, chosen.seconds)


def _for(workload: str, bench: Bench) -> Bench:
    """With fewer users for cached reads."""
    if workload not in READS:
        return bench
    few = bench.users[:READERS]
    return replace(bench, users=few, file=write_users(few, bench.stack.folder / "readers"))


def compare(
    pair: Mapping[str, Bench], repetitions: int, loads: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    """The rounds of both, and the share of the empty ledger's speed that the grown one keeps.

    Each repetition measures both, in alternating order.
    """
    rounds: dict[str, list[Round]] = {name: [] for name in pair}
    results.print_head()
    for workload, connections in loads:
        benches = {name: _for(workload, bench) for name, bench in pair.items()}
        for number in range(repetitions * (2 if workload in NOISY else 1)):
            for name in sorted(benches, reverse=bool(number % 2)):
                rounds[name].append(benches[name].round(workload, connections))
    return {
        "rounds": {name: results.rounds_as_json(each) for name, each in rounds.items()},
        "kept": [kept(rounds, workload, connections) for workload, connections in loads],
    }


def kept(rounds: Mapping[str, Sequence[Round]], workload: str, connections: int) -> dict[str, Any]:
    """Requests/s and processor time per request of both, and the ratios grown to empty.

    All are medians of the repetitions: the machine's speed varies by the minute."""
    speeds: dict[str, list[float]] = {}
    cpu_us: dict[str, list[float]] = {}
    for name, each in rounds.items():
        selected = [
            one for one in each if (one.workload, one.connections) == (workload, connections)
        ]
        speeds[name] = [one.requests_per_second for one in selected]
        cpu_us[name] = [sum(one.cpu_us_per_request.values()) for one in selected]
    return {
        "workload": workload,
        "connections": connections,
        "requests_per_second": {name: round(median(each), 1) for name, each in speeds.items()},
        "cpu_us_per_request": {name: round(median(each), 1) for name, each in cpu_us.items()},
        "kept": _median_ratio(speeds["grown"], speeds["empty"]),
        "kept_by_cpu": _median_ratio(cpu_us["empty"], cpu_us["grown"]),
    }


def _median_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return round(median(one / other for one, other in zip(over, under, strict=True)), 3)


async def pages(database_url: str, history: History) -> list[dict[str, Any]]:
    """The cost of the first, the middle and the last page of the longest history."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET plan_cache_mode = force_custom_plan")  # as the app's own
    account = history.users()[BIG].account_id
    version = await connection.fetchval(
        "SELECT version FROM ledger.accounts WHERE id = $1", account
    )
    positions = {"first": (END, END)}
    for name, at in {"middle": version // 2, "last": PAGE}.items():
        number = await connection.fetchval(
            "SELECT sequence FROM ledger.entries WHERE account_id = $1 AND version = $2",
            account,
            at,
        )
        positions[name] = (at, number)
    found = []
    for name, (before, step) in positions.items():
        entries = (account, before, None, None, PAGE)
        steps = (account, before, step, 0, 0, *NO_FILTERS, PAGE)
        for query, arguments in (("entries_page", entries), ("transactions_page", steps)):
            cost = await _explain(connection, getattr(_SQL, query), arguments)
            found.append({"page": name, "query": query, "of_entries": version, **cost})
    await connection.close()
    return found


async def _explain(
    connection: asyncpg.Connection, query: str, arguments: tuple[object, ...]
) -> dict[str, Any]:
    """Touched buffers, rows, and milliseconds with all buffers in memory."""
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
