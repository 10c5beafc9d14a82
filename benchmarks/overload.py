"""Twice the load of the peak: how much is still done, and how fast the rest is refused.

wrk sends twice as many requests as the servers can do, each at its time, over so many connections
that enough are free. wrk doesn't separate the latencies of refusals from those of answers, so a few
probes, each with one request at a time on a new connection, measure both.
"""

import asyncio
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Final

from benchmarks.bench import Bench
from benchmarks.rounds import WARM_UP_S, Round
from benchmarks.users import User
from benchmarks.wrk import Load
from finpay import ids
from finpay.edge.load_limits import MAX_IN_FLIGHT
from tests.support.raw_http import Connection, request

PEAK_CONNECTIONS: Final = (64, 128, 256)
TWICE: Final = 2.0
SPARE_S: Final = 0.1  # of that load; wrk scans a list of the free connections, which takes time
PROBES: Final = 4
PROBE_AFTER_S: Final = WARM_UP_S + 1.5  # after wrk has opened all its connections
PROBE_PAUSE_S: Final = 0.05
PROBE_LIMIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One request of a probe; status 0 without an answer. `retry_after`: has that header."""

    status: int
    seconds: float
    retry_after: bool


@dataclass(frozen=True, slots=True)
class Repetition:
    """An overload between two measurements of the peak: before and after it."""

    peaks: tuple[float, float]
    round: Round
    probes: Sequence[Probe]

    @property
    def kept(self) -> float:
        """The share of the mean of the two peaks: the machine's speed varies by the minute."""
        return self.round.transfers_per_second / mean(self.peaks)


@dataclass(frozen=True, slots=True)
class Overload:
    """`offered` requests/s against a peak of transfers/s. Rates and `kept` are medians of
    the repetitions; `refused` and the probes are of all of them."""

    connections: int
    peak_per_second: float
    offered_per_second: float
    transfers_per_second: float
    kept: float
    kept_per_repetition: list[float]
    refused: int
    probes: Mapping[int, int]
    refused_p50_ms: float
    refused_p99_ms: float
    refused_max_ms: float
    all_with_retry_after: bool
    accepted_p99_ms: float
    rounds: list[Round]


def overload(bench: Bench, repetitions: int) -> Overload:
    """Finds the peak and its connections, then offers about twice as much, `repetitions` times."""
    found = {connections: peak(bench, connections) for connections in PEAK_CONNECTIONS}
    best = max(found, key=found.__getitem__)
    measured: list[Repetition] = []
    before = peak(bench, best)
    for _ in range(repetitions):
        round_, probes = overloaded_round(bench, before)
        after = peak(bench, best)
        measured.append(Repetition((before, after), round_, probes))
        print(f"{round_.requests_per_second:,.0f}/s offered: {measured[-1].kept:.0%} of the peak")
        before = after
    return summary(measured)


def peak(bench: Bench, connections: int) -> float:
    """Transfers/s without overload."""
    return bench.measure(Load("transfers", connections, bench.seconds)).transfers_per_second


def overloaded_round(bench: Bench, peak_per_second: float) -> tuple[Round, list[Probe]]:
    """One round at about twice that peak, with its probes."""
    rate = TWICE * peak_per_second
    connections = bench.tuning.workers * MAX_IN_FLIGHT + round(rate * SPARE_S)
    prober = Prober(bench.stack.api.port, bench.users)
    prober.start()
    load = Load("transfers", connections, bench.seconds, rate=rate)
    round_ = bench.measure(load)
    return round_, prober.stop()


def summary(repetitions: Sequence[Repetition]) -> Overload:
    probes = [one for each in repetitions for one in each.probes]
    refused = latencies_ms(probes, 503)
    statuses = {one.status for one in probes}
    rounds = [each.round for each in repetitions]
    kept = [round(each.kept, 3) for each in repetitions]
    return Overload(
        connections=rounds[0].connections,
        peak_per_second=round(median(mean(each.peaks) for each in repetitions), 1),
        offered_per_second=round(median(one.requests_per_second for one in rounds), 1),
        transfers_per_second=round(median(one.transfers_per_second for one in rounds), 1),
        kept=round(median(kept), 3),
        kept_per_repetition=kept,
        refused=sum(one.statuses.get(503, 0) for one in rounds),
        probes={status: sum(one.status == status for one in probes) for status in statuses},
        refused_p50_ms=percentile(refused, 0.5),
        refused_p99_ms=percentile(refused, 0.99),
        refused_max_ms=percentile(refused, 1),
        all_with_retry_after=all(one.retry_after for one in probes if one.status == 503),
        accepted_p99_ms=percentile(latencies_ms(probes, 201), 0.99),
        rounds=rounds,
    )


def latencies_ms(probes: Sequence[Probe], status: int) -> list[float]:
    """In order."""
    return sorted(one.seconds * 1_000 for one in probes if one.status == status)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that is at least as big as this share of them; 0 of none."""
    if not ordered:
        return 0
    at = max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)
    return round(ordered[at], 1)


class Prober:
    """Probes in an event loop of another thread, until `stop`."""

    def __init__(self, port: int, users: Sequence[User]) -> None:
        self._port = port
        self._users = users
        self._probes: list[Probe] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> list[Probe]:
        self._stopping.set()
        self._thread.join(2 * PROBE_LIMIT_S)
        return self._probes

    async def _run(self) -> None:
        await asyncio.sleep(PROBE_AFTER_S)
        await asyncio.gather(*(self._loop(random.Random(n)) for n in range(PROBES)))

    async def _loop(self, chance: random.Random) -> None:
        while not self._stopping.is_set():
            await asyncio.sleep(PROBE_PAUSE_S)
            self._probes.append(await self._probe(*chance.sample(self._users, 2)))

    async def _probe(self, sender: User, receiver: User) -> Probe:
        """On a new connection: connecting is a part of a client's latency."""
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(PROBE_LIMIT_S):
                connection = await Connection.open(self._port)
                answer = await connection.exchange(_transfer(sender, receiver))
                connection.close()
        except (OSError, EOFError):
            return Probe(0, PROBE_LIMIT_S, retry_after=False)
        return Probe(answer.status, time.monotonic() - started_s, "retry-after" in answer.headers)


def _transfer(sender: User, receiver: User) -> bytes:
    headers = {
        "Authorization": f"Bearer {sender.token}",
        "X-Idempotency-Key": f"probe-{ids.new_uuid()}",
    }
    body = f'{{"receiver_id":"{ids.encode("acc", receiver.account_id)}","amount":1}}'
    return request("POST", "/api/v1/transactions", headers, body.encode())
