"""python -m benchmarks.webhooks: how fast events reach a receiver, and what telling them costs.

Four figures, each on servers of its own: deliveries per second from a backlog with the worker
alone; the time from a commit to the arrival at 100 transfers per second; transfers per second at
peak with a worker and 1 % of the accounts subscribed, over those without, in turns; and the same
with the rows of the events over without. The receiver is a process of its own on the same cores.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import httptools
import psutil
import uvloop

from benchmarks import wrk
from benchmarks.stack import Knobs, Stack, await_ready, stack
from benchmarks.users import User, make_users, write_users
from benchmarks.wrk import Load
from finpay import ids, signing
from finpay.dev.child_process import free_port
from finpay.outbox import event_ids

USERS: Final = 1_000
SUBSCRIBED: Final = 10  # 1 %
FEW: Final = 20
CHUNK: Final = 100  # of one transaction: each version of an account makes the next one slower
LOOPBACK: Final = {"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"}
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SETTLE_S: Final = 3.0  # for what is still on its way when the load ends
PEAK_CONNECTIONS: Final = 64
_INSERT_OF_EVENTS: Final = re.compile(r"INSERT INTO outbox\.events [^;]*;")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=["drain", "latency", "peak", "rows"])
    parser.add_argument("--backlog", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=1, help="that share the backlog")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--receive", nargs=2, metavar=("PORT", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        uvloop.run(_receive(int(options.receive[0]), Path(options.receive[1])))
        return
    for part in options.parts:
        with stack(Knobs(environment=LOOPBACK)) as running:
            _PARTS[part](running, options)


def _drain(running: Stack, options: argparse.Namespace) -> None:
    running.api.terminate()  # the worker alone
    people = asyncio.run(make_users(running.database_url, options.endpoints))
    with _receiver(running) as (port, seen):
        asyncio.run(_subscribe(running.database_url, people, port))
        asyncio.run(_fund(running.database_url, people, options.backlog // len(people)))
        started_s, worker = time.monotonic(), _worker(running, "--once")
        cpu_s, peak_bytes = 0.0, 0
        while worker.poll() is None:
            times = worker.cpu_times()
            cpu_s = times.user + times.system or cpu_s
            peak_bytes = max(peak_bytes, worker.memory_info().rss)
            time.sleep(0.05)
        took_s = time.monotonic() - started_s
    arrived = json.loads(seen.read_text())
    span_s = max(arrived.values()) - min(arrived.values())
    print(
        f"drain: {len(arrived)} delivered in {took_s:.1f} s with start and end, "
        f"{len(arrived) / span_s:.0f} per second; worker {1e6 * cpu_s / len(arrived):.0f} us of "
        f"CPU each, {peak_bytes / 2**20:.0f} MiB"
    )


def _latency(running: Stack, options: argparse.Namespace) -> None:
    people = asyncio.run(make_users(running.database_url, FEW))
    file = write_users(people, running.folder / "people")
    load = Load("transfers", 10, options.seconds, pause_ms=100)
    with _receiver(running) as (port, seen):
        asyncio.run(_subscribe(running.database_url, people, port))
        worker = _worker(running)
        time.sleep(SETTLE_S)  # until it works: what came before would wait for its start
        sent = wrk.run(running.url, file, load)
        time.sleep(SETTLE_S)
        worker.terminate()
        worker.wait()
    arrived = json.loads(seen.read_text())
    waits = asyncio.run(_waits(running.database_url, arrived))
    cuts = statistics.quantiles(waits, n=100)
    print(
        f"latency: {sent.per_second:.0f} transfers per second, {len(waits)} events; from commit to "
        f"arrival p50 {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, p99 {cuts[98]:.0f} ms"
    )


def _peak(running: Stack, options: argparse.Namespace) -> None:
    people = asyncio.run(make_users(running.database_url, USERS))
    file = write_users(people, running.folder / "people")
    load = Load("transfers", PEAK_CONNECTIONS, options.seconds)
    wrk.run(running.url, file, Load("transfers", PEAK_CONNECTIONS, 4))
    alone, beside = [], []
    with _receiver(running) as (port, _):
        asyncio.run(_subscribe(running.database_url, people[:SUBSCRIBED], port))
        for _ in range(options.turns):
            asyncio.run(_switch(running.database_url, enabled=False))
            alone.append(wrk.run(running.url, file, load).per_second)
            asyncio.run(_switch(running.database_url, enabled=True))
            worker = _worker(running)
            time.sleep(1)
            beside.append(wrk.run(running.url, file, load).per_second)
            worker.terminate()
            worker.wait()
    ratios = [100 * b / a for a, b in zip(alone, beside, strict=True)]
    print(
        f"peak: {_told(alone)} transfers per second without, {_told(beside)} with a worker and 1 % "
        f"subscribed: {statistics.median(ratios):.1f} %"
    )


def _rows(running: Stack, options: argparse.Namespace) -> None:
    """The ledger of these servers is worth nothing afterwards: half of its events are missing."""
    people = asyncio.run(make_users(running.database_url, USERS))
    file = write_users(people, running.folder / "people")
    load = Load("transfers", PEAK_CONNECTIONS, options.seconds)
    wrk.run(running.url, file, Load("transfers", PEAK_CONNECTIONS, 4))
    rates: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * options.turns):
        told = turn % 2 == 0
        asyncio.run(_tell_events(running.database_url, told=told))
        rates[told].append(wrk.run(running.url, file, load).per_second)
    ratios = [100 * a / b for a, b in zip(rates[True], rates[False], strict=True)]
    print(
        f"rows: {_told(rates[True])} transfers per second with the rows of events, "
        f"{_told(rates[False])} without: {statistics.median(ratios):.1f} %"
    )


async def _tell_events(database_url: str, *, told: bool) -> None:
    """Puts the posting function there as it is, or without the INSERT of events."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE IF NOT EXISTS public.whole (definition text)")
    await connection.execute(
        "INSERT INTO public.whole SELECT pg_get_functiondef('ledger.post_transfers'::regproc) "
        "WHERE NOT EXISTS (SELECT FROM public.whole)"
    )
    whole: str = await connection.fetchval("SELECT definition FROM public.whole")
    without, cut = _INSERT_OF_EVENTS.subn("", whole)
    assert cut == 1, "post_transfers has one INSERT of events"
    await connection.execute(whole if told else without)
    await connection.close()


_PARTS: Final = {"drain": _drain, "latency": _latency, "peak": _peak, "rows": _rows}


def _told(rates: Sequence[float]) -> str:
    return "/".join(f"{rate:.0f}" for rate in rates)


def _worker(running: Stack, *arguments: str) -> psutil.Popen:
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": running.database_url,
        **LOOPBACK,
    }
    with (running.folder / "worker.log").open("ab") as log:
        return psutil.Popen(
            [sys.executable, "-m", "finpay", "worker", *arguments], env=environment, stdout=log
        )


@contextmanager
def _receiver(running: Stack) -> Iterator[tuple[int, Path]]:
    """Its port, and the file in which it leaves what arrived when."""
    port, seen = free_port(), running.folder / "arrived"
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.webhooks", "--receive", str(port), str(seen)]
    )
    try:
        await_ready(f"http://127.0.0.1:{port}", process)
        yield port, seen
    finally:
        process.terminate()
        process.wait()


class _Answering(asyncio.Protocol):
    """Answers 200 as fast as it can, and notes the first time of each webhook-id."""

    arrived: Final[dict[str, float]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpRequestParser(self)
        self._name = ""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"webhook-id":
            self._name = value.decode()

    def on_message_complete(self) -> None:
        if self._name:
            self.arrived.setdefault(self._name, time.time())
        self._transport.write(ANSWER)


async def _receive(port: int, file: Path) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.create_server(_Answering, "127.0.0.1", port)
    await stop.wait()
    file.write_text(json.dumps(_Answering.arrived))


async def _subscribe(database_url: str, people: Sequence[User], port: int) -> None:
    connection = await asyncpg.connect(database_url)
    for one in people:
        endpoint = ids.new_uuid()
        await connection.execute(
            "INSERT INTO webhooks.endpoints (id, user_id, account_id, url, event_types) "
            "VALUES ($1, $2, $3, $4, '{transaction.*}')",
            endpoint,
            one.user_id,
            one.account_id,
            f"http://127.0.0.1:{port}/hook",
        )
        await connection.execute(
            "INSERT INTO webhooks.secrets (endpoint_id, secret) VALUES ($1, $2)",
            endpoint,
            signing.new_secret(),
        )
    await connection.close()


async def _switch(database_url: str, *, enabled: bool) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "UPDATE webhooks.endpoints SET enabled = $1, "
        "disabled_at = CASE WHEN NOT $1 THEN now() END, "
        "disabled_reason = CASE WHEN NOT $1 THEN 'owner' END",
        enabled,
    )
    await connection.close()


async def _fund(database_url: str, people: Sequence[User], each: int) -> None:
    """So many events for each, without a transfer's other side."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET ROLE finpay_owner")
    for one in people:
        for first in range(0, each, CHUNK):
            await connection.execute(
                "SELECT count((ledger.fund(gen_random_uuid(), $1, 1, gen_random_uuid()::text, '')"
                ").answer) FROM generate_series(1, $2)",
                one.account_id,
                min(CHUNK, each - first),
            )
    await connection.close()


async def _waits(database_url: str, arrived: dict[str, float]) -> list[float]:
    """Milliseconds from the moment in the event, just before its commit, to the arrival."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT account_id, sequence, extract(epoch FROM created_at)::float8 AS at_s "
        "FROM outbox.events WHERE type = 'transaction.completed'"
    )
    await connection.close()
    waits = []
    for row in rows:
        name = ids.encode("evt", event_ids.derive(row["account_id"], row["sequence"]))
        if name in arrived:
            waits.append(1_000 * (arrived[name] - row["at_s"]))
    return waits


if __name__ == "__main__":
    main()
