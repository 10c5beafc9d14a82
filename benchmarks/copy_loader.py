"""Puts a made-up history into an empty ledger through COPY: every table at once, fast.

Each table gets a COPY of its own, in a transaction that begins with its TRUNCATE: PostgreSQL then
writes no WAL for it (with wal_level minimal, for as long as the load lasts) and freezes the rows at
once, so that no vacuum comes later and disturbs a measurement. Indexes and constraints stay on.
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

from benchmarks.stack import DATABASE, BenchError, Knobs, databases
from benchmarks.synthetic_ledger import ACCOUNT_COLUMNS, CHUNK, COLUMNS, History, Plan
from benchmarks.users import User
from finpay.dev.postgres import Cluster

# For the load alone: no WAL for tables that the same transaction emptied, and room for the indexes.
LOADING: Final = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "shared_buffers": "2GB",
    "maintenance_work_mem": "512MB",
    "autovacuum": "off",  # nothing to clean, and ANALYZE comes at the end
}
AHEAD: Final = 2  # pieces that wait per table: a slow table does not stop the others at once
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


class Copying:
    """One COPY into one table, fed from a thread; psql speaks the protocol."""

    def __init__(
        self, cluster: Cluster, database: str, table: str, columns: str, *, empty: bool = True
    ) -> None:
        self._table = table
        self._pieces: Queue[bytes | None] = Queue(AHEAD)
        begin = [f"TRUNCATE {table}"] if empty else []
        options = " (FREEZE)" if empty else ""
        # Triggers refuse TRUNCATE; only a superuser's session may do without them.
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
        """Hands the piece over; waits where too many wait already."""
        if self._psql.poll() is not None:
            self.finish()
        self._pieces.put(piece)

    def finish(self) -> None:
        """Commits. BenchError with PostgreSQL's words if it refused."""
        self._pieces.put(None)
        self._thread.join(FINISH_LIMIT_S)
        assert self._psql.stderr is not None
        with self._psql.stderr as words:
            said = words.read().decode()
        if self._psql.wait(FINISH_LIMIT_S) != 0:
            raise BenchError(f"COPY into {self._table} failed: {said}")

    def _feed(self) -> None:
        assert self._psql.stdin is not None
        try:
            while (piece := self._pieces.get()) is not None:
                self._psql.stdin.write(piece)
            self._psql.stdin.close()
        except BrokenPipeError:  # psql gave up, and finish tells why
            while self._pieces.get() is not None:
                pass


def load(home: Path, plan: Plan) -> None:
    """Fills the database in `home`, which has to be empty. Its servers are started and stopped."""
    with databases(home, Knobs(postgres=LOADING)) as (postgres, _):
        fill(postgres, DATABASE, History(plan))


def fill(cluster: Cluster, database: str, history: History) -> None:
    """Puts the history into a database that has every migration and no money in it."""
    started_s = time.monotonic()
    url, wanted = cluster.url(database), history.plan.transactions
    asyncio.run(_people(url, history.people()))
    copies = {table: Copying(cluster, database, table, COLUMNS[table]) for table in COLUMNS}
    for number, piece in enumerate(history.pieces()):
        for table, text in piece.items():
            copies[table].put(text)
        if number % PROGRESS_EACH == 0:
            _say(f"{min(number * CHUNK, wanted):>11,} of {wanted:,} transactions", started_s)
    for copying in copies.values():
        copying.finish()
    accounts = Copying(cluster, database, "ledger.accounts", ACCOUNT_COLUMNS, empty=False)
    accounts.put(history.accounts())
    accounts.finish()
    _say("everything is in; VACUUM, ANALYZE", started_s)
    asyncio.run(_settle(url))
    _say("done", started_s)


async def _people(database_url: str, people: Sequence[User]) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        if await connection.fetchval("SELECT count(*) FROM ledger.transactions"):
            raise BenchError("the ledger is not empty: a made-up history needs one of its own")
        users = [one.user_id for one in people]
        await connection.execute(_USERS, users, [one.email for one in people])
        await connection.execute(_SESSIONS, [one.session_id for one in people], users)
    finally:
        await connection.close()


async def _settle(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("VACUUM (ANALYZE)")
    await connection.execute("CHECKPOINT")
    await connection.close()


def _say(what: str, started_s: float) -> None:
    sys.stderr.write(f"{time.monotonic() - started_s:6.0f} s  {what}\n")
