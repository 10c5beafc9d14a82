"""Loads a synthetic history into an empty ledger through COPY, all tables in parallel.

Each table gets its own COPY, in a transaction that starts with its TRUNCATE: PostgreSQL then writes
no WAL for it (with wal_level minimal, during the load) and freezes the rows at once, so that no
later vacuum disturbs a measurement. Indexes and constraints stay on.
"""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Queue
from typing import Final

import asyncpg

from benchmarks.stack import BenchError, Tuning, databases
from benchmarks.synthetic_ledger import ACCOUNT_COLUMNS, CHUNK, COLUMNS, History, Plan
from benchmarks.users import User
from finpay.dev.postgres import Cluster
from finpay.dev.stack import DATABASE

# Only for the load: no WAL for tables truncated by the same transaction, and memory for indexes.
LOADING: Final = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "shared_buffers": "2GB",
    "maintenance_work_mem": "512MB",
    "autovacuum": "off",  # no dead rows, and ANALYZE runs at the end
}
QUEUED_PIECES: Final = 2  # per table, so that a slow table does not stop the others at once
FINISH_LIMIT_S: Final = 600  # a COPY's last commit syncs gigabytes
PROGRESS_EACH: Final = 25  # pieces

_USERS: Final = """
INSERT INTO identity.users (id, email, password_hash)
SELECT u.id, u.email, 'no password' FROM unnest($1::uuid[], $2::text[]) AS u (id, email)
"""
_SESSIONS: Final = """
INSERT INTO identity.sessions (id, user_id, refresh_key)
SELECT u.session, u.id, sha256(uuid_send(u.session))
FROM unnest($1::uuid[], $2::uuid[]) AS u (session, id)
"""


class Copy:
    """One COPY into one table by psql, fed from a thread."""

    def __init__(
        self, cluster: Cluster, database: str, table: str, columns: str, *, empty: bool = True
    ) -> None:
        self._table = table
        self._pieces: Queue[bytes | None] = Queue(QUEUED_PIECES)
        begin = [f"TRUNCATE {table}"] if empty else []
        options = " (FREEZE)" if empty else ""
        # Triggers refuse TRUNCATE; a superuser's session may disable them.
        statements = ["SET session_replication_role = replica", "BEGIN", *begin]
        statements += [f"COPY {table} ({columns}) FROM STDIN{options}", "COMMIT"]
        commands = [part for statement in statements for part in ("-c", statement)]
        psql = [str(cluster.binaries / "psql"), "-XqtA", "-v", "ON_ERROR_STOP=1"]
        self._psql = subprocess.Popen(
            [*psql, "-d", cluster.url(database), *commands],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def put(self, piece: bytes) -> None:
        """Queues the piece; blocks while the queue is full."""
        if self._psql.poll() is not None:
            self.finish()
        self._pieces.put(piece)

    def finish(self) -> None:
        """Commits. BenchError, with PostgreSQL's message, if it failed."""
        self._pieces.put(None)
        self._thread.join(FINISH_LIMIT_S)
        assert self._psql.stderr is not None
        with self._psql.stderr as stderr:
            message = stderr.read().decode()
        if self._psql.wait(FINISH_LIMIT_S) != 0:
            raise BenchError(f"COPY into {self._table} failed: {message}")

    def _feed(self) -> None:
        assert self._psql.stdin is not None
        try:
            while (piece := self._pieces.get()) is not None:
                self._psql.stdin.write(piece)
            self._psql.stdin.close()
        except BrokenPipeError:  # psql has exited; `finish` raises its error
            while self._pieces.get() is not None:
                pass


def load(home: Path, plan: Plan) -> None:
    """Fills the empty database in `home`, whose servers are started and stopped."""
    with databases(home, Tuning(postgres=LOADING)) as stack:
        fill(stack.postgres, DATABASE, History(plan))


def fill(cluster: Cluster, database: str, history: History) -> None:
    """Loads the history into a migrated database without transactions."""
    started_s = time.monotonic()
    url, total = cluster.url(database), history.plan.transactions
    asyncio.run(_create_users(url, history.users()))
    copies = {table: Copy(cluster, database, table, COLUMNS[table]) for table in COLUMNS}
    for number, piece in enumerate(history.pieces()):
        for table, text in piece.items():
            copies[table].put(text)
        if number % PROGRESS_EACH == 0:
            _say(f"{min(number * CHUNK, total):>11,} of {total:,} transactions", started_s)
    for copy in copies.values():
        copy.finish()
    accounts = Copy(cluster, database, "ledger.accounts", ACCOUNT_COLUMNS, empty=False)
    accounts.put(history.accounts())
    accounts.finish()
    _say("loaded; VACUUM, ANALYZE", started_s)
    asyncio.run(_vacuum(url))
    _say("done", started_s)


async def _create_users(database_url: str, users: Sequence[User]) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        if await connection.fetchval("SELECT count(*) FROM ledger.transactions"):
            raise BenchError("the ledger is not empty: a synthetic history needs an empty one")
        user_ids = [one.user_id for one in users]
        await connection.execute(_USERS, user_ids, [one.email for one in users])
        await connection.execute(_SESSIONS, [one.session_id for one in users], user_ids)
    finally:
        await connection.close()


async def _vacuum(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("VACUUM (ANALYZE)")
    await connection.execute("CHECKPOINT")
    await connection.close()


def _say(what: str, started_s: float) -> None:
    sys.stderr.write(f"{time.monotonic() - started_s:6.0f} s  {what}\n")
