"""Which fault happens when, on which server, for how long: a function of seed and duration.

Faults are taken from a shuffled list that has each kind as often as its weight, and that is
refilled when it is used up, so a short run has each kind too. Two faults never overlap on one
server; on different servers they do.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

EVERY_MS: Final = 1_200  # mean pause: most faults hit a system that serves again
API_COUNT: Final = 2
MAX_MINUTES: Final = 24 * 60


class Fault(StrEnum):
    """What the nemesis can do: the first word is the fault, the last one the server."""

    KILL_API = "kill_api"  # the worker process; its supervisor replaces it
    KILL_SERVICE = "kill_service"  # the supervisor and all below it, at once
    KILL_WORKER = "kill_worker"
    KILL_BACKEND = "kill_backend"  # one process of PostgreSQL, which then ends all others
    CRASH_POSTGRES = "crash_postgres"  # pg_ctl stop -m immediate, then start
    KILL_VALKEY = "kill_valkey"  # it restarts empty
    FLUSH_VALKEY = "flush_valkey"
    PAUSE_POSTGRES = "pause_postgres"  # SIGSTOP, SIGCONT
    PAUSE_VALKEY = "pause_valkey"
    PAUSE_API = "pause_api"
    SLOW_POSTGRES = "slow_postgres"  # each response is delayed by 2 s
    SLOW_VALKEY = "slow_valkey"
    RESET_POSTGRES = "reset_postgres"  # every connection is reset
    RESET_VALKEY = "reset_valkey"
    TEAR_COMMIT = "tear_commit"  # the response to a COMMIT is cut in its middle
    BLACK_HOLE_POSTGRES = "black_hole_postgres"  # bytes are held back until it ends
    BLACK_HOLE_VALKEY = "black_hole_valkey"
    CUT_CLIENTS = "cut_clients"  # connections of clients, after the commit


KILLS: Final = frozenset(
    {
        Fault.KILL_API,
        Fault.KILL_SERVICE,
        Fault.KILL_WORKER,
        Fault.KILL_BACKEND,
        Fault.CRASH_POSTGRES,
        Fault.KILL_VALKEY,
    }
)

# How often each kind is in the list: half of all faults are kills.
_WEIGHTS: Final[dict[Fault, int]] = {
    Fault.KILL_API: 4,
    Fault.KILL_SERVICE: 2,
    Fault.KILL_WORKER: 3,
    Fault.KILL_BACKEND: 3,
    Fault.CRASH_POSTGRES: 3,
    Fault.KILL_VALKEY: 2,
    Fault.FLUSH_VALKEY: 2,
    Fault.PAUSE_POSTGRES: 1,
    Fault.PAUSE_VALKEY: 1,
    Fault.PAUSE_API: 1,
    Fault.SLOW_POSTGRES: 1,
    Fault.SLOW_VALKEY: 1,
    Fault.RESET_POSTGRES: 2,
    Fault.RESET_VALKEY: 1,
    Fault.TEAR_COMMIT: 3,
    Fault.BLACK_HOLE_POSTGRES: 1,
    Fault.BLACK_HOLE_VALKEY: 1,
    Fault.CUT_CLIENTS: 2,
}
# The shortest and the longest duration in ms; other kinds have none.
_DURATIONS_MS: Final[dict[Fault, tuple[int, int]]] = {
    Fault.CRASH_POSTGRES: (0, 1_000),
    Fault.KILL_VALKEY: (0, 1_000),
    Fault.KILL_SERVICE: (0, 500),
    Fault.PAUSE_POSTGRES: (1_000, 5_000),
    Fault.PAUSE_VALKEY: (1_000, 5_000),
    Fault.PAUSE_API: (1_000, 3_000),
    Fault.SLOW_POSTGRES: (3_000, 5_000),
    Fault.SLOW_VALKEY: (3_000, 5_000),
    Fault.BLACK_HOLE_POSTGRES: (2_000, 6_000),
    Fault.BLACK_HOLE_VALKEY: (2_000, 6_000),
}
# How long a server recovers after a fault before it gets the next one.
_RECOVERY_MS: Final = {"postgres": 1_500, "valkey": 1_000, "api": 2_500, "worker": 1_500}


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """`at_ms` counts from the first fault's phase; `target` is the number of an API."""

    at_ms: int
    fault: Fault
    target: int
    duration_ms: int

    @property
    def server(self) -> str:
        """The server that it harms: two faults of one server never overlap."""
        return _server(self.fault, self.target)


def draw(
    seed: int,
    minutes: float,
    *,
    every_ms: int = EVERY_MS,
    faults: Collection[Fault] = tuple(Fault),
) -> tuple[PlannedFault, ...]:
    """The faults of a run, in order. Equal arguments give equal plans, on every machine."""
    random = Random(f"finpay torture {seed}")  # noqa: S311  it has to be repeatable
    end_ms = round(minutes * 60_000)
    free_at_ms: dict[str, int] = {}
    planned: list[PlannedFault] = []
    left: list[tuple[Fault, int]] = []
    at_ms = 0
    while True:
        at_ms += round(random.uniform(0.5, 1.5) * every_ms)
        if at_ms >= end_ms:
            return tuple(planned)
        if _first_possible(left, free_at_ms, at_ms) is None:
            left += _shuffled(random, faults)
        fault = _first_possible(left, free_at_ms, at_ms)
        if fault is not None:
            left.remove(fault)
            duration_ms = round(random.uniform(*_DURATIONS_MS.get(fault[0], (0, 0))))
            planned.append(PlannedFault(at_ms, *fault, duration_ms))
            server = _server(*fault)
            recovery_ms = _RECOVERY_MS.get(server.rstrip("01"), 0)
            free_at_ms[server] = at_ms + duration_ms + recovery_ms


def _shuffled(random: Random, faults: Collection[Fault]) -> list[tuple[Fault, int]]:
    weighted = [
        (fault, number % API_COUNT)
        for fault, count in _WEIGHTS.items()
        if fault in faults
        for number in range(count)
    ]
    # Sorted by a random number each: Random.shuffle may change with the version of Python.
    return [fault for _, fault in sorted((random.random(), fault) for fault in weighted)]


def _first_possible(
    left: list[tuple[Fault, int]], free_at_ms: dict[str, int], at_ms: int
) -> tuple[Fault, int] | None:
    """The first fault whose server is free at that time."""
    return next((one for one in left if free_at_ms.get(_server(*one), 0) <= at_ms), None)


def _server(fault: Fault, target: int) -> str:
    if fault in {Fault.KILL_API, Fault.KILL_SERVICE, Fault.PAUSE_API}:
        return f"api{target}"
    if fault is Fault.KILL_WORKER:
        return "worker"
    if fault is Fault.CUT_CLIENTS:
        return "clients"
    return "valkey" if fault.endswith("valkey") else "postgres"
