"""Holds made and captured, refunds made and requests paid per second, in turns with transfers.

    python -m benchmarks.operations [--seconds 5] [--repetitions 3]

A ratio is that of an operation's rate to the rate of the transfers measured right before it; the
last one printed is the median. CPU is that of the API and of PostgreSQL per request: it hardly
depends on what else the machine does.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import resource_usage, verify, wrk
from benchmarks.bench import Bench, bench
from benchmarks.sql_only import new_transfer
from benchmarks.stack import Tuning
from benchmarks.users import User
from benchmarks.wrk import Load
from finpay import ids
from finpay.db.pool import Database
from finpay.edge.schemas.problems import refusal_templates
from finpay.ledger import payment_requests
from finpay.ledger.changes import ChangeOrigin
from finpay.ledger.payment_requests import NewRequest
from finpay.ledger.posting import Operation, Posting, Transfer, post

USERS: Final = 200
CONNECTIONS: Final = 64
AT_ONCE: Final = 500  # holds or transfers made in one commit
PAYERS: Final = 50  # of the requests made in one commit
KINDS: Final = ("holds", "captures", "refunds", "payments")
MOST_PER_SECOND: Final = 6_000  # targets are made for a rate that no machine of ours reaches


@dataclass(frozen=True, slots=True)
class Measurement:
    """One load: its rate, its p99, and processor time per request."""

    per_second: float
    p99_ms: float
    cpu_us: float
    errors: int


def measure(ready: Bench, workload: str, targets: Path | None = None) -> Measurement:
    """One load without a warm-up: the targets are used up."""
    ready.checkpoint()
    before = resource_usage.cpu_seconds(ready.stack.pids)
    load = Load(workload, CONNECTIONS, ready.seconds, targets=targets)
    sent = wrk.run(ready.stack.url, ready.file, load)
    after = resource_usage.cpu_seconds(ready.stack.pids)
    spent_s = sum(after[name] - before[name] for name in ("api", "postgres"))
    errors = sent.refusals + sent.transport_errors
    return Measurement(sent.per_second, sent.p99_ms, spent_s * 1e6 / max(1, sent.requests), errors)


async def make_targets(ready: Bench, kind: str, path: Path) -> Path:
    """Open holds, completed transfers or open payment requests, with the user who may capture,
    refund or pay each."""
    database = Database(ready.stack.database_url, size=1)
    lines: list[str] = []
    make = make_requests if kind == "payments" else partial(make_postings, kind=kind)
    while len(lines) < int(MOST_PER_SECOND * ready.seconds):
        lines += await make(database, ready.users)
    await database.close()
    random.shuffle(lines)
    path.write_text("".join(lines))
    return path


async def make_postings(database: Database, users: Sequence[User], kind: str) -> list[str]:
    """Holds or transfers of one commit."""
    make: Callable[[User, User], Posting] = new_hold if kind == "captures" else new_transfer
    prefix: ids.Prefix = "hld" if kind == "captures" else "txn"
    pairs = [_pair(users) for _ in range(AT_ONCE)]
    made = [make(users[sender], users[receiver]) for sender, receiver in pairs]
    await post(database, made, refusal_templates())
    lines = []
    for (_, receiver), one in zip(pairs, made, strict=True):
        assert isinstance(one, Operation | Transfer)
        lines.append(f"{receiver + 1} {ids.encode(prefix, one.id)}\n")
    return lines


async def make_requests(database: Database, users: Sequence[User]) -> list[str]:
    """Requests of one user to others, each to a payer of its own."""
    requester, *payers = random.sample(range(len(users)), 1 + PAYERS)
    emails = [users[payer].email for payer in payers]
    origin = ChangeOrigin(users[requester].user_id, "req_benchmark", None)
    new = NewRequest([1] * PAYERS, emails, None, None, "{}", 604_800, is_split=True)
    result = await payment_requests.create(database, origin, new, None, ["{}"] * 2)
    made = [request["id"] for request in json.loads(result.answer or "")["data"]]
    return [f"{payer + 1} {request}\n" for payer, request in zip(payers, made, strict=True)]


def _pair(users: Sequence[User]) -> tuple[int, int]:
    sender, receiver = random.sample(range(len(users)), 2)
    return sender, receiver


def new_hold(sender: User, receiver: User) -> Operation:
    hold_id = ids.new_uuid()
    key = f"direct-{hold_id}"
    return Operation(
        mode="hold",
        id=hold_id,
        sender_id=sender.account_id,
        receiver_id=receiver.account_id,
        amount=1,
        key=key,
        fingerprint=blake2b(key.encode(), digest_size=16).digest(),
        request_id=ids.encode("req", hold_id),
        address=None,
        reply="{}",
        expires_in_s=604_800,
    )


def compare(ready: Bench, kind: str) -> tuple[float, float]:
    """A load of transfers, then one of the operation: the ratio of rates, and that of CPU."""
    targets = None
    if kind != "holds":
        targets = asyncio.run(make_targets(ready, kind, ready.stack.folder / kind))
    transfers, operation = measure(ready, "transfers"), measure(ready, kind, targets)
    rate = operation.per_second / transfers.per_second
    cpu = operation.cpu_us / transfers.cpu_us
    print(
        f"{kind:9} {operation.per_second:6.0f}/s p99 {operation.p99_ms:5.0f} ms "
        f"{operation.cpu_us:5.0f} CPU us; transfers {transfers.per_second:6.0f}/s "
        f"p99 {transfers.p99_ms:5.0f} ms {transfers.cpu_us:5.0f} CPU us; "
        f"ratio {rate:.2f}, CPU {cpu:.2f}, errors {operation.errors}",
        flush=True,
    )
    return rate, cpu


def medians(ratios: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The median ratio of rates, and that of CPU."""
    rates, cpus = zip(*ratios, strict=True)
    return median(rates), median(cpus)


def parser(name: str, repetitions: int) -> argparse.ArgumentParser:
    """The options of a benchmark that compares loads in turns."""
    found = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    found.add_argument("--seconds", type=float, default=5)
    found.add_argument("--repetitions", type=int, default=repetitions)
    found.add_argument("--workers", type=int, default=2)
    return found


def main() -> None:
    """Prints each pair, the medians, and whether the ledger is clean."""
    found = parser("operations", 3)
    found.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    options = found.parse_args()
    with bench(Tuning(options.workers), USERS, options.seconds) as ready:
        for kind in options.kinds:
            ratios = [compare(ready, kind) for _ in range(options.repetitions)]
            rate, cpu = medians(ratios)
            print(f"{kind}: {rate:.2f} of transfers, {cpu:.2f} of their CPU per request")
        verify.print_result(ready.stack)


if __name__ == "__main__":
    main()
