"""python -m benchmarks.webhooks: how fast events reach a receiver, and what they cost.

Four figures, each on its own servers: deliveries per second from a backlog with the worker alone;
the time from a commit to the arrival at 100 transfers per second; transfers per second at peak with
a worker and 1 % of the accounts subscribed, over those without, alternately; and the same with the
rows of the events over without. The receiver is another process on the same cores.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import asyncpg
import psutil

from benchmarks import wrk
from benchmarks.stack import BenchStack, Tuning, running_stack
from benchmarks.users import User, make_users, write_users
from benchmarks.wrk import Load
from finpay import ids, signing
from finpay.dev.stack import Api, Service
from finpay.outbox import event_ids
from tests.support.environment import LOOPBACK_WEBHOOKS, clean_environment

USERS: Final = 1_000
SUBSCRIBED: Final = 10  # 1 %
FEW: Final = 20
CHUNK: Final = 100  # per transaction: each version of an account slows down the next one
DRAIN_S: Final = 3.0  # for events on their way when the load ends
PEAK_CONNECTIONS: Final = 64
POLL_S: Final = 0.05
WARM_UP: Final = Load("transfers", PEAK_CONNECTIONS, 4)
_INSERT_OF_EVENTS: Final = re.compile(r"INSERT INTO outbox\.events [^;]*;")


class Sink(Api):
    """benchmarks/webhook_sink.py; `arrivals` once it has stopped."""

    def __init__(self, folder: Path) -> None:
        super().__init__(clean_environment(), folder / "sink.log")
        self.name = "the webhook sink"
        self._file = folder / "arrived"
        self.command = [
            *(sys.executable, "-m", "benchmarks.webhook_sink", str(self.port), str(self._file))
        ]

    def arrivals(self) -> Mapping[str, float]:
        """The time of the first arrival of each webhook-id."""
        found: dict[str, float] = json.loads(self._file.read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(_PARTS), help=", ".join(_PARTS))
    parser.add_argument("--backlog", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=1, help="that share the backlog")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    for part in options.parts:
        with running_stack(Tuning(environment=LOOPBACK_WEBHOOKS)) as stack:
            _PARTS[part](stack, options)


def _drain(stack: BenchStack, options: argparse.Namespace) -> None:
    stack.api.stop()  # the worker alone
    users = asyncio.run(make_users(stack.database_url, options.endpoints))
    with _sink(stack) as sink:
        asyncio.run(_subscribe(stack.database_url, users, sink.port))
        asyncio.run(_fund(stack.database_url, users, options.backlog // len(users)))
        started_s, worker = time.monotonic(), _start_worker(stack, "--once")
        process = psutil.Process(worker.pid)
        cpu_s, peak_bytes = 0.0, 0
        while worker.running:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                cpu_s = times.user + times.system or cpu_s
                peak_bytes = max(peak_bytes, process.memory_info().rss)
            time.sleep(POLL_S)
        took_s = time.monotonic() - started_s
    arrived = sink.arrivals()
    span_s = max(arrived.values()) - min(arrived.values())
    print(
        f"drain: {len(arrived)} delivered in {took_s:.1f} s with start and end, "
        f"{len(arrived) / span_s:.0f} per second; worker {1e6 * cpu_s / len(arrived):.0f} us of "
        f"CPU each, {peak_bytes / 2**20:.0f} MiB"
    )


def _latency(stack: BenchStack, options: argparse.Namespace) -> None:
    users = asyncio.run(make_users(stack.database_url, FEW))
    file = write_users(users, stack.folder / "users")
    load = Load("transfers", 10, options.seconds, rate=100)
    with _sink(stack) as sink:
        asyncio.run(_subscribe(stack.database_url, users, sink.port))
        worker = _start_worker(stack)
        time.sleep(DRAIN_S)  # until it works: earlier events would wait for its start
        result = wrk.run(stack.url, file, load)
        time.sleep(DRAIN_S)
        worker.stop()
    latencies_ms = asyncio.run(_latencies_ms(stack.database_url, sink.arrivals()))
    cuts = statistics.quantiles(latencies_ms, n=100)
    print(
        f"latency: {result.per_second:.0f} transfers per second, {len(latencies_ms)} events; from "
        f"commit to arrival p50 {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, p99 {cuts[98]:.0f} ms"
    )


def _peak(stack: BenchStack, options: argparse.Namespace) -> None:
    users = asyncio.run(make_users(stack.database_url, USERS))
    file = write_users(users, stack.folder / "users")
    load = Load("transfers", PEAK_CONNECTIONS, options.seconds)
    wrk.run(stack.url, file, WARM_UP)
    without, with_worker = [], []
    with _sink(stack) as sink:
        asyncio.run(_subscribe(stack.database_url, users[:SUBSCRIBED], sink.port))
        for _ in range(options.repetitions):
            asyncio.run(_enable_endpoints(stack.database_url, enabled=False))
            without.append(wrk.run(stack.url, file, load).per_second)
            asyncio.run(_enable_endpoints(stack.database_url, enabled=True))
            worker = _start_worker(stack)
            time.sleep(1)
            with_worker.append(wrk.run(stack.url, file, load).per_second)
            worker.stop()
    ratios = [100 * b / a for a, b in zip(without, with_worker, strict=True)]
    print(
        f"peak: {_format(without)} transfers per second without, {_format(with_worker)} with a "
        f"worker and 1 % subscribed: {statistics.median(ratios):.1f} %"
    )


def _rows(stack: BenchStack, options: argparse.Namespace) -> None:
    """Leaves a ledger without half of its events behind."""
    users = asyncio.run(make_users(stack.database_url, USERS))
    file = write_users(users, stack.folder / "users")
    load = Load("transfers", PEAK_CONNECTIONS, options.seconds)
    wrk.run(stack.url, file, WARM_UP)
    rates: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * options.repetitions):
        with_events = number % 2 == 0
        asyncio.run(_replace_posting_function(stack.database_url, with_events=with_events))
        rates[with_events].append(wrk.run(stack.url, file, load).per_second)
    ratios = [100 * a / b for a, b in zip(rates[True], rates[False], strict=True)]
    print(
        f"rows: {_format(rates[True])} transfers per second with the rows of events, "
        f"{_format(rates[False])} without: {statistics.median(ratios):.1f} %"
    )


async def _replace_posting_function(database_url: str, *, with_events: bool) -> None:
    """The posting function as it is, or without its INSERT of events."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE IF NOT EXISTS public.original (definition text)")
    await connection.execute(
        "INSERT INTO public.original "
        "SELECT pg_get_functiondef('ledger.post_transfers'::regproc) "
        "WHERE NOT EXISTS (SELECT FROM public.original)"
    )
    original: str = await connection.fetchval("SELECT definition FROM public.original")
    without, cut = _INSERT_OF_EVENTS.subn("", original)
    assert cut == 1, "post_transfers has one INSERT of events"
    await connection.execute(original if with_events else without)
    await connection.close()


_PARTS: Final[Mapping[str, Callable[[BenchStack, argparse.Namespace], None]]] = {
    "drain": _drain,
    "latency": _latency,
    "peak": _peak,
    "rows": _rows,
}


def _format(rates: Sequence[float]) -> str:
    return "/".join(f"{rate:.0f}" for rate in rates)


def _start_worker(stack: BenchStack, option: str = "") -> Service:
    environment = clean_environment(**LOOPBACK_WEBHOOKS, DATABASE_URL=stack.urls.database)
    worker = Service(f"worker {option}", environment, stack.folder / "worker.log")
    worker.start()
    return worker


@contextmanager
def _sink(stack: BenchStack) -> Iterator[Sink]:
    sink = Sink(stack.folder)
    sink.start()
    try:
        sink.await_ready(sink.is_ready)
        yield sink
    finally:
        sink.stop()


async def _subscribe(database_url: str, users: Sequence[User], port: int) -> None:
    connection = await asyncpg.connect(database_url)
    for one in users:
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


async def _enable_endpoints(database_url: str, *, enabled: bool) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "UPDATE webhooks.endpoints SET enabled = $1, "
        "disabled_at = CASE WHEN NOT $1 THEN now() END, "
        "disabled_reason = CASE WHEN NOT $1 THEN 'owner' END",
        enabled,
    )
    await connection.close()


async def _fund(database_url: str, users: Sequence[User], each: int) -> None:
    """That many events for each user, without another user's side."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET ROLE finpay_owner")
    for one in users:
        for first in range(0, each, CHUNK):
            await connection.execute(
                "SELECT count((ledger.fund(gen_random_uuid(), $1, 1, gen_random_uuid()::text, '')"
                ").answer) FROM generate_series(1, $2)",
                one.account_id,
                min(CHUNK, each - first),
            )
    await connection.close()


async def _latencies_ms(database_url: str, arrived: Mapping[str, float]) -> list[float]:
    """From the time of the event, just before its commit, to the arrival."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT account_id, sequence, extract(epoch FROM created_at)::float8 AS at_s "
        "FROM outbox.events WHERE type = 'transaction.completed'"
    )
    await connection.close()
    latencies = []
    for row in rows:
        name = ids.encode("evt", event_ids.derive(row["account_id"], row["sequence"]))
        if name in arrived:
            latencies.append(1_000 * (arrived[name] - row["at_s"]))
    return latencies


if __name__ == "__main__":
    main()
