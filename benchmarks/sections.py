"""The sections of the benchmark: each starts its own servers, measures, and verifies the ledger.

A section writes its own file into results/, so it can be repeated without the others. Its older
result is removed: the tree has the newest one of each section.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks import overload, ratios, results, soak, startup, verify
from benchmarks.bench import Bench, bench
from benchmarks.rounds import BATCHES, Round
from benchmarks.stack import BenchError, BenchStack, Tuning

FEW: Final = 200
MANY: Final = 10_000
CONNECTIONS: Final = (32, 64, 128, 512)
HASHERS: Final = 8  # logins at once: enough to keep two cores busy, too few to be refused
BATCH_CALLERS: Final = 16
BATCH_SIZES: Final = (1, 10, 50, 100, 250, 500, 1_000)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line. `seconds` per round."""

    tuning: Tuning = field(default_factory=Tuning)
    seconds: float = 8
    repetitions: int = 3
    soak_seconds: float = 600

    def as_json(self) -> dict[str, Any]:
        """For the result file: the varied settings, and the fixed ones."""
        return {
            "workers": self.tuning.workers,
            "environment": dict(self.tuning.environment),
            "postgresql": {
                **self.tuning.postgres,
                "durability": "fsync, full_page_writes, synchronous_commit on",
            },
            "limits": "off",
            "seconds_per_round": self.seconds,
            "shared": "API, PostgreSQL, Valkey and the load generator on the same cores",
        }


Section = Callable[[Options], dict[str, Any]]


def run(name: str, options: Options) -> Path:
    """Runs a section and writes its file. BenchError if the ledger was not clean after it."""
    print(f"\n== {name}: {(SECTIONS[name].__doc__ or '').splitlines()[0]}", flush=True)
    measured = SECTIONS[name](options)
    path = results.write(name, {"settings": options.as_json(), **measured})
    if not measured["verify"]["clean"]:
        raise BenchError(f"ledger verify found violations:\n{measured['verify']['output']}")
    return path


def connections(options: Options) -> dict[str, Any]:
    """Transfers over connections: uniform, to one receiver, from one sender; 200 users."""
    return _rounds(options, FEW, ("transfers", "hot_receiver", "hot_sender"), CONNECTIONS)


def many_users(options: Options) -> dict[str, Any]:
    """The same for 10 000 users, and their reads."""
    return _rounds(options, MANY, ("transfers", "hot_receiver"), CONNECTIONS, ("balance", "mix"))


def workloads(options: Options) -> dict[str, Any]:
    """Reads, cached and just after writes, the 80/20 mix, replays of used keys, logins."""
    kinds = ("balance", "history", "after_write", "mix", "replays")
    with bench(options.tuning, FEW, options.seconds) as ready:
        rounds = [ready.round(kind, 64) for kind in kinds]
        rounds.append(ready.round("login", HASHERS))
        return _figures(ready, rounds)


def transfer_batches(options: Options) -> dict[str, Any]:
    """Transfer batches over their size, and direct calls of the posting function."""
    with bench(options.tuning, FEW, options.seconds) as ready:
        rounds = [ready.round(BATCHES, BATCH_CALLERS, batch_size=size) for size in BATCH_SIZES]
        rounds.append(ready.round(BATCHES, BATCH_CALLERS, batch_size=500, batch_mode="atomic"))
        direct = ratios.direct_by_batch_size(ready)
        for one in direct:
            print(f"direct, batches of {one.batch}: {one.per_second:,.0f} transfers/s")
        figures = [{**asdict(one), "per_second": round(one.per_second, 1)} for one in direct]
        return {**_figures(ready, rounds), "direct": figures}


def compared(options: Options) -> dict[str, Any]:
    """FinPay, direct calls, a naive API, bare SQL and pgbench, alternately."""
    with bench(options.tuning, FEW, options.seconds) as ready:
        comparison = ratios.compare(ready, options.repetitions)
        for name, value in comparison.ratios.items():
            print(f"{name:<28}{value:>8}")
        return {"comparison": asdict(comparison), **_verified(ready.stack)}


def overloaded(options: Options) -> dict[str, Any]:
    """Twice the load of the peak."""
    with bench(options.tuning, FEW, options.seconds) as ready:
        found = asdict(overload.overload(ready, options.repetitions))
        print({name: value for name, value in found.items() if name != "rounds"})
        return {"overload": found, **_verified(ready.stack)}


def start(options: Options) -> dict[str, Any]:
    """From `finpay serve` to the first 200 of /readyz."""
    with bench(options.tuning, FEW, options.seconds) as ready:
        found = startup.starts(ready.stack, options.tuning)
        print(found)
        return {"startup": found, **_verified(ready.stack)}


def soaked(options: Options) -> dict[str, Any]:
    """Memory over a long run of the mixed load."""
    with bench(options.tuning, FEW, options.seconds) as ready:
        found = soak.soak(ready.stack, ready.file, FEW, options.soak_seconds)
        print({name: value for name, value in found.items() if name not in {"round", "samples"}})
        return {"soak": found, **_verified(ready.stack)}


def quick(options: Options) -> dict[str, Any]:
    """The main figures in less than two minutes."""
    with bench(options.tuning, FEW, options.seconds) as ready:
        rounds = [ready.round("transfers", count) for count in (32, 64, 128)]
        others = ("hot_receiver", "balance", "history", "mix")
        rounds += [ready.round(kind, 64) for kind in others]
        rounds.append(ready.round(BATCHES, BATCH_CALLERS))
        return _figures(ready, rounds)


SECTIONS: Final[Mapping[str, Section]] = {
    "connections": connections,
    "many_users": many_users,
    "workloads": workloads,
    "transfer_batches": transfer_batches,
    "ratios": compared,
    "overload": overloaded,
    "start": start,
    "soak": soaked,
    "quick": quick,
}
LONG: Final = frozenset({"soak", "quick"})  # not part of `all`: too long, or measured already


def _rounds(
    options: Options,
    users: int,
    kinds: Sequence[str],
    over: Sequence[int],
    others: Sequence[str] = (),
) -> dict[str, Any]:
    with bench(options.tuning, users, options.seconds) as ready:
        rounds = [ready.round(kind, n) for kind in kinds for n in over]
        rounds += [ready.round(kind, 64) for kind in others]
        return _figures(ready, rounds)


def _figures(ready: Bench, rounds: Sequence[Round]) -> dict[str, Any]:
    results.print_memory(rounds[-1])
    return {"rounds": results.rounds_as_json(list(rounds)), **_verified(ready.stack)}


def _verified(stack: BenchStack) -> dict[str, Any]:
    found = verify.verify(stack)
    print(f"ledger verify: {'clean' if found.clean else 'VIOLATIONS'} in {found.seconds} s")
    return {"verify": asdict(found)}
