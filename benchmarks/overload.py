"""Twice the load that it can carry: what it still does, and how fast it says no to the rest.

wrk sends more than fits over thousands of connections, with pauses, so that refused clients come
back like new ones. wrk cannot tell latencies of refusals from those of answers, so a few probes of
our own, each a plain socket with one request at a time, measure both beside it.
"""

import random
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from statistics import mean, median
from typing import Final
from urllib.parse import urlsplit

from benchmarks.comparison import Contest
from benchmarks.rounds import WARM_UP_S, Round, measure
from benchmarks.users import User
from benchmarks.wrk import Load
from finpay import ids
from finpay.edge.application import MAX_IN_FLIGHT

PEAK_CONNECTIONS: Final = (64, 128, 256)
PAUSE_MS: Final = 50  # wrk walks a list of all that pause, again and again: a cost of its own
EXCESS: Final = 2.8  # above twice, for what a closed loop loses to waiting
PROBES: Final = 4
PROBE_AFTER_S: Final = WARM_UP_S + 1.5  # when all of wrk's connections have been opened
PROBE_PAUSE_S: Final = 0.05
PROBE_LIMIT_S: Final = 10.0
MAX_HEAD_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Probed:
    """One request of a probe. `patient`: the answer said when to come again."""

    status: int
    seconds: float
    patient: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """Too much for a while, between two looks at the peak: before and after it."""

    peaks: tuple[float, float]
    round: Round
    probed: Sequence[Probed]

    @property
    def kept(self) -> float:
        """Of the mean of the two peaks: the machine's speed changes from minute to minute."""
        return self.round.transfers_per_second / mean(self.peaks)


@dataclass(frozen=True, slots=True)
class Overload:
    """`offered` requests/s against a peak of transfers/s; latencies in milliseconds. `let_in`: how
    many a process works on at once. Rates are medians of the turns, and what is kept that of their
    ratios; `refused` and the probes are of all turns."""

    connections: int
    let_in: int
    peak_per_second: float
    offered_per_second: float
    transfers_per_second: float
    kept: float
    kept_in_turns: list[float]
    refused: int
    probes: Mapping[int, int]
    refused_p50_ms: float
    refused_p99_ms: float
    refused_max_ms: float
    all_patient: bool
    accepted_p99_ms: float
    rounds: list[Round]


def overload(contest: Contest, turns: int) -> Overload:
    """Finds the connections of the peak, then offers about twice as much, `turns` times."""
    running, people, file = contest.running, contest.people, contest.file

    def round_over(connections: int, pause_ms: int = 0) -> Round:
        load = Load("transfers", connections, contest.seconds, pause_ms=pause_ms)
        return measure(running, file, len(people), load)

    def peak_over(connections: int) -> float:
        return round_over(connections).transfers_per_second

    found = {connections: peak_over(connections) for connections in PEAK_CONNECTIONS}
    best, peak = max(found.items(), key=itemgetter(1))
    busy = contest.workers * MAX_IN_FLIGHT  # who waits for an answer offers nothing meanwhile
    connections = busy + round(EXCESS * peak * PAUSE_MS / 1_000)
    taken: list[Turn] = []
    before = peak_over(best)
    for _ in range(turns):
        probing = Probing(running.url, people)
        probing.start()
        measured = round_over(connections, PAUSE_MS)
        probed = probing.stop()
        after = peak_over(best)
        taken.append(Turn((before, after), measured, probed))
        print(f"{measured.requests_per_second:,.0f}/s offered: {taken[-1].kept:.0%} of the peak")
        before = after
    return summary(taken)


def summary(turns: Sequence[Turn]) -> Overload:
    """What the rounds and the probes beside them tell."""
    probed = [one for turn in turns for one in turn.probed]
    refused = sorted(one.seconds * 1_000 for one in probed if one.status == 503)
    accepted = sorted(one.seconds * 1_000 for one in probed if one.status == 201)
    statuses = {one.status for one in probed}
    rounds = [turn.round for turn in turns]
    kept = [round(turn.kept, 3) for turn in turns]
    return Overload(
        connections=rounds[0].connections,
        let_in=MAX_IN_FLIGHT,
        peak_per_second=round(median(mean(turn.peaks) for turn in turns), 1),
        offered_per_second=round(median(one.requests_per_second for one in rounds), 1),
        transfers_per_second=round(median(one.transfers_per_second for one in rounds), 1),
        kept=round(median(kept), 3),
        kept_in_turns=kept,
        refused=sum(one.statuses.get(503, 0) for one in rounds),
        probes={status: sum(one.status == status for one in probed) for status in statuses},
        refused_p50_ms=percentile(refused, 0.5),
        refused_p99_ms=percentile(refused, 0.99),
        refused_max_ms=percentile(refused, 1),
        all_patient=all(one.patient for one in probed if one.status == 503),
        accepted_p99_ms=percentile(accepted, 0.99),
        rounds=rounds,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that is at least as big as this share of them; 0 of none."""
    if not ordered:
        return 0
    at = max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)
    return round(ordered[at], 1)


class Probing:
    """Probes in threads of their own, until `stop`: plain sockets, as what they take is missing
    to those who are measured."""

    def __init__(self, url: str, people: Sequence[User]) -> None:
        parts = urlsplit(url)
        self._address = str(parts.hostname), parts.port or 80
        self._people = people
        self._probed: list[Probed] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._probe, args=(random.Random(number),), daemon=True)
            for number in range(PROBES)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Probed]:
        """What they saw."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PROBE_LIMIT_S)
        return self._probed

    def _probe(self, chance: random.Random) -> None:
        self._stopping.wait(PROBE_AFTER_S)
        while not self._stopping.wait(PROBE_PAUSE_S):
            request = _request(*chance.sample(self._people, 2))
            try:
                self._probed.append(self._ask(request))
            except OSError:
                self._probed.append(Probed(0, PROBE_LIMIT_S, patient=False))

    def _ask(self, request: bytes) -> Probed:
        """Over a connection of its own: connecting is part of what a client waits for."""
        started_s = time.monotonic()
        with socket.create_connection(self._address, PROBE_LIMIT_S) as line:
            line.sendall(request)
            head = line.recv(MAX_HEAD_BYTES)  # answers are one write
        seconds = time.monotonic() - started_s
        status = re.match(rb"HTTP/1.1 (\d+)", head)
        if status is None:
            raise ConnectionError("no answer")
        return Probed(int(status[1]), seconds, b"\r\nretry-after:" in head.lower())


def _request(sender: User, receiver: User) -> bytes:
    body = f'{{"receiver_id":"{ids.encode("acc", receiver.account_id)}","amount":1}}'
    return (
        "POST /api/v1/transactions HTTP/1.1\r\nHost: finpay.test\r\n"
        f"Authorization: Bearer {sender.token}\r\nContent-Type: application/json\r\n"
        f"X-Idempotency-Key: probe-{ids.new_uuid()}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
