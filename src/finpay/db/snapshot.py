"""A read-only view of all data at one moment, for reports that read whole tables.

The pool's deadlines are for requests. A verification of millions of rows takes minutes, so it has a
transaction without them, which can't write.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from finpay.db.pool import Database, Transaction

# Per sort and per hash; larger ones spill to disk. A query of many parts keeps the hash tables of
# all of them until its end: with twice as much, and twice that for a hash, the verification of 10
# million transactions took 960 MiB of one server process.
WORK_MEM: Final = "32MB"


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[Transaction]:
    """One read-only REPEATABLE READ transaction without time limits.

    PostgreSQL keeps the row versions that it may still read while it is open, so it should not stay
    open for hours. Unavailable if there is no connection, or if it is lost.
    """
    async with database.unbounded_transaction(
        isolation="repeatable_read", readonly=True
    ) as transaction:
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            await transaction.execute(f"SET LOCAL {limit} = 0")
        await transaction.execute(f"SET LOCAL work_mem = '{WORK_MEM}'")
        await transaction.execute("SET LOCAL hash_mem_multiplier = 1")
        yield transaction
