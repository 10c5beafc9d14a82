"""The sections of the benchmark: each starts servers of its own, measures, and proves the ledger.

A section writes a file of its own into results/, so one can be repeated without the others.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks import overload, results, soak, startup, verify, wrk
from benchmarks.comparison import Contest
from benchmarks.rounds import Round, measure
from benchmarks.stack import BenchError, Knobs, Stack, stack
from benchmarks.users import User, make_users, write_users
from benchmarks.wrk import Load

FEW: Final = 200
MANY: Final = 10_000
CONNECTIONS: Final = (32, 64, 128, 512)
HASHERS: Final = 8  # logins at once: enough to keep two cores busy, too few to be refused
BULK_CALLERS: Final = 16
BULK_SIZES: Final = (1, 10, 50, 100, 250, 500, 1_000)
FIRST_LOAD: Final = Load(
    "transfers", 32, 3
)  # opens connections, plans statements, compiles nothing


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line chose. `seconds` per round."""

    knobs: Knobs = field(default_factory=Knobs)
    seconds: float = 8
    turns: int = 3
    soak_seconds: float = 600

    def as_json(self) -> dict[str, Any]:
        """For the result file: what was varied, and what never is."""
        return {
            "workers": self.knobs.workers,
            "environment": dict(self.knobs.environment),
            "postgresql": {
                **self.knobs.postgres,
                "durability": "fsync, full_page_writes, synchronous_commit on",
            },
            "limits": "off",
            "seconds_per_round": self.seconds,
            "shared": "API, PostgreSQL, Valkey and the load generator on the same cores",
        }


@dataclass(frozen=True, slots=True)
class Bench:
    """Servers with users in them; `file` is what wrk reads."""

    running: Stack
    people: Sequence[User]
    file: Path

    def round(self, workload: str, connections: int, seconds: float, **more: Any) -> Round:
        """One measured round, printed."""
        load = Load(workload, connections, seconds, **more)
        done = measure(self.running, self.file, len(self.people), load)
        results.print_round(done)
        return done

    def contest(self, options: Options, seconds: float) -> Contest:
        """These servers and users against others."""
        workers = options.knobs.workers
        return Contest(self.running, self.people, self.file, workers, seconds)


Section = Callable[[Options], dict[str, Any]]


def run(name: str, options: Options) -> Path:
    """Runs a section and writes its file. BenchError if the ledger was not clean after it."""
    print(f"\n== {name}: {(SECTIONS[name].__doc__ or '').splitlines()[0]}", flush=True)
    measured = SECTIONS[name](options)
    path = results.write(name, {"settings": options.as_json(), **measured})
    if not measured["verify"]["clean"]:
        raise BenchError(f"ledger verify found violations:\n{measured['verify']['told']}")
    return path


def connections(options: Options) -> dict[str, Any]:
    """Transfers over connections: between many, to one, from one; 200 users."""
    return _rounds(options, FEW, ("transfers", "hot_receiver", "hot_sender"), CONNECTIONS)


def crowd(options: Options) -> dict[str, Any]:
    """The same for 10 000 users, and their reads."""
    return _rounds(options, MANY, ("transfers", "hot_receiver"), CONNECTIONS, ("balance", "mix"))


def workloads(options: Options) -> dict[str, Any]:
    """Reads, cached and just after writes, the 80/20 mix, replays of used keys, logins."""
    kinds = ("balance", "history", "after_write", "mix", "replays")
    with bench(options, FEW) as ready:
        rounds = [ready.round(kind, 64, options.seconds) for kind in kinds]
        rounds.append(ready.round("login", HASHERS, options.seconds))
        return _told(ready, rounds)


def bulk(options: Options) -> dict[str, Any]:
    """Many transfers a call, over their number; and direct calls of the posting function."""
    with bench(options, FEW) as ready:
        rounds = [
            ready.round("bulk", BULK_CALLERS, options.seconds, bulk_size=size)
            for size in BULK_SIZES
        ]
        rounds.append(
            ready.round("bulk", BULK_CALLERS, options.seconds, bulk_size=500, bulk_mode="atomic")
        )
        direct = ready.contest(options, options.seconds / 2).direct_by_batch_size()
        for one in direct:
            print(f"direct, batches of {one.batch}: {one.per_second:,.0f} transfers/s")
        told = [{**asdict(one), "per_second": round(one.per_second, 1)} for one in direct]
        return {**_told(ready, rounds), "direct": told}


def ratios(options: Options) -> dict[str, Any]:
    """FinPay beside direct calls, a naive API, bare SQL and pgbench, in turns."""
    with bench(options, FEW) as ready:
        compared = ready.contest(options, options.seconds).compare(options.turns)
        for name, value in compared.ratios.items():
            print(f"{name:<28}{value:>8}")
        return {"comparison": asdict(compared), **_proof(ready.running)}


def overloaded(options: Options) -> dict[str, Any]:
    """Twice the load that it can carry."""
    with bench(options, FEW) as ready:
        found = overload.overload(ready.contest(options, options.seconds), options.turns)
        print({name: value for name, value in asdict(found).items() if name != "rounds"})
        return {"overload": asdict(found), **_proof(ready.running)}


def start(options: Options) -> dict[str, Any]:
    """From `finpay serve` to the first 200 of /readyz."""
    with bench(options, FEW) as ready:
        found = startup.starts(ready.running, options.knobs.workers)
        print(found)
        return {"startup": found, **_proof(ready.running)}


def soaked(options: Options) -> dict[str, Any]:
    """Memory over a long run of the mixed load."""
    with bench(options, FEW) as ready:
        found = soak.soak(ready.running, ready.file, FEW, options.soak_seconds)
        print({name: value for name, value in found.items() if name not in {"round", "samples"}})
        return {"soak": found, **_proof(ready.running)}


def quick(options: Options) -> dict[str, Any]:
    """The main figures in less than two minutes."""
    with bench(options, FEW) as ready:
        rounds = [ready.round("transfers", count, options.seconds) for count in (32, 64, 128)]
        others = ("hot_receiver", "balance", "history", "mix")
        rounds += [ready.round(kind, 64, options.seconds) for kind in others]
        rounds.append(ready.round("bulk", BULK_CALLERS, options.seconds))
        return _told(ready, rounds)


SECTIONS: Final[Mapping[str, Section]] = {
    "connections": connections,
    "crowd": crowd,
    "workloads": workloads,
    "bulk": bulk,
    "ratios": ratios,
    "overload": overloaded,
    "start": start,
    "soak": soaked,
    "quick": quick,
}
LONG: Final = frozenset({"soak", "quick"})  # not part of `all`: hours, or the same once more


@contextmanager
def bench(options: Options, users: int) -> Iterator[Bench]:
    """Servers, users and a first load that is not counted."""
    with stack(options.knobs) as running:
        people = asyncio.run(make_users(running.database_url, users))
        file = write_users(people, running.folder / "people")
        wrk.run(running.url, file, FIRST_LOAD)
        results.print_head()
        yield Bench(running, people, file)


def _rounds(
    options: Options,
    users: int,
    kinds: Sequence[str],
    over: Sequence[int],
    others: Sequence[str] = (),
) -> dict[str, Any]:
    with bench(options, users) as ready:
        rounds = [ready.round(kind, n, options.seconds) for kind in kinds for n in over]
        rounds += [ready.round(kind, 64, options.seconds) for kind in others]
        return _told(ready, rounds)


def _told(ready: Bench, rounds: Sequence[Round]) -> dict[str, Any]:
    results.print_memory(rounds[-1])
    return {"rounds": results.rounds_as_json(list(rounds)), **_proof(ready.running)}


def _proof(running: Stack) -> dict[str, Any]:
    proof = verify.prove(running)
    print(f"ledger verify: {'clean' if proof.clean else 'VIOLATIONS'} in {proof.seconds} s")
    return {"verify": asdict(proof)}
