"""50 000 schedules that are due in one minute, of 500 senders to 500 receivers.

    python -m benchmarks.schedules

Run by the worker's own function against a PostgreSQL of its own. Must: 60 s.
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
from finpay.ledger import schedule_runner
from finpay.ledger.batcher import LOCK_TIMEOUT_MS
from finpay.ledger.verify import verify
from tests.sql.ledger_fixtures import REFUSALS, Bank
from tests.sql.schedule_fixtures import plan_many

SCHEDULES: Final = 50_000
PEOPLE: Final = 500  # on each side


async def measure(url: str) -> None:
    bank, worker = Bank(url), Database(url, size=1, lock_timeout_ms=LOCK_TIMEOUT_MS)
    senders = [await bank.open(10_000) for _ in range(PEOPLE)]
    receivers = [await bank.open() for _ in range(PEOPLE)]
    await plan_many(url, senders, receivers, SCHEDULES)
    superuser = await asyncpg.connect(url)
    await superuser.execute("ANALYZE ledger.schedules")
    await superuser.close()
    started_s = time.perf_counter()
    runs = await schedule_runner.run_due(worker, REFUSALS)
    seconds = time.perf_counter() - started_s
    print(f"{runs} runs in {seconds:.1f} s: {runs / seconds:.0f} runs/s")
    broken = [check.name for check in (await verify(bank.owner)).checks if not check.ok]
    print(f"ledger verify: {broken or 'clean'}")
    await worker.close()
    await bank.close()


def main() -> None:
    """In a folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="finpay-bench-"))
    folder.chmod(0o755)  # for the servers' account
    try:
        with databases(folder, Tuning()) as stack:
            asyncio.run(measure(stack.database_url))
    finally:
        remove_data_dir(folder)


if __name__ == "__main__":
    main()
