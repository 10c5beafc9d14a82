"""An unhurried look at all data at one moment, for reports that read whole tables.

The pool's deadlines are for requests. A proof over millions of rows takes minutes, so it has a
connection without them, which can't write.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from finpay.db.pool import Database, Transaction, _translated, discard

# Per sort and per hash; what doesn't fit goes to disk. A query of many parts keeps the hash tables
# of all of them until its end: with twice as much, and twice that for a hash, a proof over 10
# million transactions took 960 MiB of one server process.
WORK_MEM: Final = "32MB"


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[Transaction]:
    """One read-only REPEATABLE READ transaction without time limits.

    While it is open PostgreSQL keeps the row versions that it may still see, so it should not be
    left open for hours. Unavailable if there is no connection, or if it is lost.
    """
    connection = await database._acquire()  # noqa: SLF001  the same package, without the deadline
    try:
        with _translated():
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                view = Transaction(connection)
                for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                    await view.execute(f"SET LOCAL {limit} = 0")
                await view.execute(f"SET LOCAL work_mem = '{WORK_MEM}'")
                await view.execute("SET LOCAL hash_mem_multiplier = 1")
                yield view
    except BaseException:
        # Whatever it was doing, it need not go on; the server sees the end of the connection.
        discard(connection)
        raise
    finally:
        await database._pool.release(connection)  # noqa: SLF001
