"""Twice the load that it can carry: what it still does, and how fast it says no to the rest.

wrk sends more than fits over thousands of connections, with pauses, so that refused clients come
back like new ones. wrk cannot tell latencies of refusals from those of answers, so a few probes of
our own, each a plain socket with one request at a time, measure both beside it.
"""

import asyncio
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks import wrk
from benchmarks.people import Person
from benchmarks.rounds import Round, measure
from benchmarks.stack import Stack
from benchmarks.wrk import Load
from finpay import ids
from finpay.edge.pipeline import MAX_UNDER_WAY

PEAK_CONNECTIONS: Final = (64, 128, 256)
PAUSE_MS: Final = 100  # wrk keeps its timers in a list: longer pauses need more, which costs it
EXCESS: Final = 2.2  # a little above twice, for what a closed loop loses to waiting
PROBES: Final = 8
PROBE_PAUSE_S: Final = 0.05
PROBE_LIMIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Probed:
    """One request of a probe. `patient`: the answer said when to come again."""

    status: int
    seconds: float
    patient: bool


@dataclass(frozen=True, slots=True)
class Overload:
    """`offered` requests/s against a peak of transfers/s; latencies in milliseconds. `let_in`: how
    many a process works on at once."""

    connections: int
    let_in: int
    peak_per_second: float
    offered_per_second: float
    transfers_per_second: float
    kept: float
    refused: int
    probes: Mapping[int, int]
    refused_p50_ms: float
    refused_p99_ms: float
    refused_max_ms: float
    all_patient: bool
    accepted_p99_ms: float
    round: Round


def overload(
    running: Stack, people: Sequence[Person], file: Path, workers: int, seconds: float
) -> Overload:
    """Finds the peak, then offers about twice as much for `seconds`."""
    users = len(people)
    rounds = [
        measure(running, file, users, Load("transfers", connections, seconds))
        for connections in PEAK_CONNECTIONS
    ]
    peak = max(one.transfers_per_second for one in rounds)
    busy = workers * MAX_UNDER_WAY  # who waits for an answer offers nothing meanwhile
    connections = busy + round(EXCESS * peak * PAUSE_MS / 1_000)
    load = Load("transfers", connections, seconds, pause_ms=PAUSE_MS)
    wrk.run(running.url, file, replace(load, seconds=2))  # connecting is not what is measured
    probing = Probing(running.url, people)
    probing.start()
    measured = measure(running, file, users, load)
    return summary(peak, measured, probing.stop())


def summary(peak: float, measured: Round, probed: Sequence[Probed]) -> Overload:
    """What the round and the probes beside it tell."""
    refused = sorted(one.seconds * 1_000 for one in probed if one.status == 503)
    accepted = sorted(one.seconds * 1_000 for one in probed if one.status == 201)
    statuses = {one.status for one in probed}
    return Overload(
        connections=measured.connections,
        let_in=MAX_UNDER_WAY,
        peak_per_second=peak,
        offered_per_second=measured.requests_per_second,
        transfers_per_second=measured.transfers_per_second,
        kept=round(measured.transfers_per_second / peak, 3),
        refused=measured.statuses.get(503, 0),
        probes={status: sum(one.status == status for one in probed) for status in statuses},
        refused_p50_ms=percentile(refused, 0.5),
        refused_p99_ms=percentile(refused, 0.99),
        refused_max_ms=percentile(refused, 1),
        all_patient=all(one.patient for one in probed if one.status == 503),
        accepted_p99_ms=percentile(accepted, 0.99),
        round=measured,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that is at least as big as this share of them; 0 of none."""
    if not ordered:
        return 0
    at = max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)
    return round(ordered[at], 1)


class Probing:
    """Probes in a thread of their own, until `stop`."""

    def __init__(self, url: str, people: Sequence[Person]) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), parts.port or 80
        self._people = people
        self._probed: list[Probed] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> list[Probed]:
        """What they saw."""
        self._stopping.set()
        self._thread.join(2 * PROBE_LIMIT_S)
        return self._probed

    async def _run(self) -> None:
        await asyncio.gather(*(self._probe(n) for n in range(PROBES)))

    async def _probe(self, number: int) -> None:
        chance = random.Random(number)
        while not self._stopping.is_set():
            request = _request(*chance.sample(self._people, 2))
            try:
                async with asyncio.timeout(PROBE_LIMIT_S):
                    self._probed.append(await self._ask(request))
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self._probed.append(Probed(0, PROBE_LIMIT_S, patient=False))
            await asyncio.sleep(PROBE_PAUSE_S)

    async def _ask(self, request: bytes) -> Probed:
        """Over a connection of its own: connecting is part of what a client waits for."""
        started_s = time.monotonic()
        reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        seconds = time.monotonic() - started_s
        writer.close()
        return Probed(int(head.split(b" ", 2)[1]), seconds, b"\r\nretry-after:" in head.lower())


def _request(sender: Person, receiver: Person) -> bytes:
    body = f'{{"receiver_id":"{ids.encode("acc", receiver.account_id)}","amount":1}}'
    return (
        "POST /api/v1/transactions HTTP/1.1\r\nHost: finpay.test\r\n"
        f"Authorization: Bearer {sender.token}\r\nContent-Type: application/json\r\n"
        f"X-Idempotency-Key: probe-{ids.new_uuid()}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
