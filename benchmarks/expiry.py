"""The expiry of 100 000 holds due at once, of 1 000 senders, to one receiver who is paid meanwhile.

    python -m benchmarks.expiry

Expired by the worker's own function against a PostgreSQL of its own. Prints the seconds, and the
latencies of transfers to the receiver before and during it. Must: 10 s, p99 at most twice.

A new PostgreSQL fills each segment of its log with 16 MiB of zeros before the first use, and a
commit waits up to 80 ms for that: a dozen times here, which would be the p99. One that has run for
a day uses old segments again, so there are enough of them before the measurement.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.stack import Tuning, databases
from finpay.db.pool import Database
from finpay.dev.data_dir import remove_data_dir
from finpay.ledger import holds
from finpay.ledger.verify import verify
from tests.sql.hold_fixtures import hold_many
from tests.sql.ledger_fixtures import Bank, Holder, transfer

SENDERS: Final = 1_000
OF_EACH: Final = 100
BEFORE_S: Final = 5.0
PAUSE_S: Final = 0.005  # between two payments: some hundred a second
SEGMENTS: Final = 40  # of the log; the expiry writes 13
KEEP_SEGMENTS: Final = {"min_wal_size": "1GB"}


async def pay(bank: Bank, payer: Holder, receiver: Holder, until: asyncio.Event) -> list[float]:
    """Latencies in milliseconds, in ascending order, of one payment after the other."""
    took = []
    while not until.is_set():
        started_s = time.perf_counter()
        outcome = await bank.outcome(transfer(payer, receiver, 1))
        assert outcome == "completed", outcome
        took.append((time.perf_counter() - started_s) * 1e3)
        await asyncio.sleep(PAUSE_S)
    return sorted(took)


async def make_ready(url: str) -> None:
    """Statistics of the new rows, and segments of the log that a checkpoint leaves for later."""
    superuser = await asyncpg.connect(url)
    await superuser.execute("ANALYZE ledger.holds, ledger.hold_expiries")
    for _ in range(SEGMENTS):
        await superuser.execute("SELECT pg_logical_emit_message(false, 'finpay', '')")
        await superuser.execute("SELECT pg_switch_wal()")
    await superuser.execute("CHECKPOINT")
    await superuser.close()


async def measure(url: str) -> None:
    bank, worker = Bank(url), Database(url, size=1)
    receiver, payer = await bank.open(10), await bank.open(10**9)
    await hold_many(bank, receiver, senders=SENDERS, of_each=OF_EACH)
    await make_ready(url)
    done = asyncio.Event()
    paying = asyncio.create_task(pay(bank, payer, receiver, done))
    await asyncio.sleep(BEFORE_S)
    done.set()
    _print("before", await paying)
    done = asyncio.Event()
    paying = asyncio.create_task(pay(bank, payer, receiver, done))
    started_s = time.perf_counter()
    rows = await holds.expire(worker, lambda: None)
    seconds = time.perf_counter() - started_s
    done.set()
    _print("meanwhile", await paying)
    print(f"{rows // 2} holds, {rows} rows, in {seconds:.1f} s: {rows / 2 / seconds:.0f} holds/s")
    # Senders and holds were made without entries, events and audit rows: what is held is proved.
    names = {"holds", "hold_expiries", "overdrafts"}
    broken = [c.name for c in (await verify(bank.owner)).checks if c.name in names and not c.ok]
    print(f"ledger verify of what is held: {broken or 'clean'}")
    await worker.close()
    await bank.close()


def _print(when: str, took: list[float]) -> None:
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    print(
        f"{when}: {len(took)} transfers, p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {took[-1]:.1f} ms"
    )


def main() -> None:
    """In a folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="finpay-bench-"))
    folder.chmod(0o755)  # for the servers' account
    try:
        with databases(folder, Tuning(postgres=KEEP_SEGMENTS)) as stack:
            asyncio.run(measure(stack.database_url))
    finally:
        remove_data_dir(folder)


if __name__ == "__main__":
    main()
