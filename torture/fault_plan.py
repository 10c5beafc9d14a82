"""Which fault comes when, to whom, for how long: a pure function of the seed and the duration.

The faults are drawn as from a pack of cards that is shuffled again when it is used up, so that a
short run meets each kind too. Two faults never overlap on one server; on different ones they do.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

EVERY_MS: Final = 1_200  # the mean pause: most faults meet a system that serves again
API_COUNT: Final = 2
MAX_MINUTES: Final = 24 * 60


class Fault(StrEnum):
    """What the nemesis can do. The first word is what happens, the last one to whom."""

    KILL_API = "kill_api"  # the process that serves; its supervisor replaces it
    KILL_SERVICE = "kill_service"  # the supervisor and all below it, at once
    KILL_WORKER = "kill_worker"
    KILL_BACKEND = "kill_backend"  # one process of PostgreSQL; the others are ended by it
    CRASH_POSTGRES = "crash_postgres"  # pg_ctl stop -m immediate, then start
    KILL_VALKEY = "kill_valkey"  # it comes back empty
    FLUSH_VALKEY = "flush_valkey"
    PAUSE_POSTGRES = "pause_postgres"  # SIGSTOP, SIGCONT
    PAUSE_VALKEY = "pause_valkey"
    PAUSE_API = "pause_api"
    SLOW_POSTGRES = "slow_postgres"  # each answer comes 2 s late
    SLOW_VALKEY = "slow_valkey"
    RESET_POSTGRES = "reset_postgres"  # every connection is reset
    RESET_VALKEY = "reset_valkey"
    TEAR_COMMIT = "tear_commit"  # the answer to a COMMIT is cut in its middle
    BLACK_HOLE_POSTGRES = "black_hole_postgres"  # nothing passes; it arrives when the hole closes
    BLACK_HOLE_VALKEY = "black_hole_valkey"
    CUT_CLIENTS = "cut_clients"  # connections of clients, when the server has committed


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

# How many cards of each kind are in the pack: half of all faults are kills.
_CARDS: Final[dict[Fault, int]] = {
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
# From when to when a fault lasts, in ms; one that is not here is over at once.
_HOLDS_MS: Final[dict[Fault, tuple[int, int]]] = {
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
# How long a server needs afterwards until it is worth harming it again.
_RECOVERY_MS: Final = {"postgres": 1_500, "valkey": 1_000, "api": 2_500, "worker": 1_500}


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: when it begins after the first client, which of its targets, how long it lasts."""

    at_ms: int
    fault: Fault
    target: int
    hold_ms: int

    @property
    def area(self) -> str:
        """The server that it harms: two strikes on one area never overlap."""
        return _area(self.fault, self.target)


def draw(
    seed: int,
    minutes: float,
    *,
    every_ms: int = EVERY_MS,
    faults: Collection[Fault] = tuple(Fault),
) -> tuple[Strike, ...]:
    """The strikes of a run, in order. Equal arguments give equal plans, on every machine."""
    dice = Random(f"finpay torture {seed}")  # noqa: S311  it has to be repeatable
    end_ms = round(minutes * 60_000)
    free_at_ms: dict[str, int] = {}
    strikes: list[Strike] = []
    pack: list[tuple[Fault, int]] = []
    at_ms = 0
    while True:
        at_ms += round(dice.uniform(0.5, 1.5) * every_ms)
        if at_ms >= end_ms:
            return tuple(strikes)
        if not any(free_at_ms.get(_area(*card), 0) <= at_ms for card in pack):
            pack += _shuffled(dice, faults)
        card = _first_free(pack, free_at_ms, at_ms)
        if card is not None:
            pack.remove(card)
            hold_ms = round(dice.uniform(*_HOLDS_MS.get(card[0], (0, 0))))
            strikes.append(Strike(at_ms, *card, hold_ms))
            area = _area(*card)
            free_at_ms[area] = at_ms + hold_ms + _RECOVERY_MS.get(area.rstrip("01"), 0)


def _shuffled(dice: Random, faults: Collection[Fault]) -> list[tuple[Fault, int]]:
    cards = [
        (fault, number % API_COUNT)
        for fault, count in _CARDS.items()
        if fault in faults
        for number in range(count)
    ]
    # Sorted by a number each: what Random.shuffle does with a seed may change with Python.
    return [card for _, card in sorted((dice.random(), card) for card in cards)]


def _first_free(
    pack: list[tuple[Fault, int]], free_at_ms: dict[str, int], at_ms: int
) -> tuple[Fault, int] | None:
    return next(_free(pack, free_at_ms, at_ms), None)


def _free(
    pack: list[tuple[Fault, int]], free_at_ms: dict[str, int], at_ms: int
) -> Iterator[tuple[Fault, int]]:
    for card in pack:
        if free_at_ms.get(_area(*card), 0) <= at_ms:
            yield card


def _area(fault: Fault, target: int) -> str:
    if fault in {Fault.KILL_API, Fault.KILL_SERVICE, Fault.PAUSE_API}:
        return f"api{target}"
    if fault is Fault.KILL_WORKER:
        return "worker"
    if fault is Fault.CUT_CLIENTS:
        return "clients"
    return "valkey" if fault.endswith("valkey") else "postgres"
