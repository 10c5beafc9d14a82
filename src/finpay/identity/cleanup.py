"""Deletes expired refresh tokens, challenges of logins and logged requests, in chunks.

Each refresh leaves the row of the old token, by which its reuse is detected. An expired token is
refused like an unknown one, so its row is no longer needed. Sessions stay: the audit log refers to
them.
"""

import asyncio
from typing import Final

from finpay.db import queries
from finpay.db.pool import Database
from finpay.identity.request_log import KEPT_DAYS

PAUSE_S: Final = 600.0  # between two runs; rows are kept for weeks, so minutes do not matter
CHUNK: Final = 1_000  # rows a statement: about 20 ms of one connection
MAX_CHUNKS: Final = 1_000  # of one run
STATEMENT_PAUSE_S: Final = 0.05  # leaves the disk and the connection to requests

_SQL: Final = queries.load("finpay.identity", "cleanup.sql")


async def prune(database: Database, *, access_ttl_s: int, chunks: int = MAX_CHUNKS) -> int:
    """Deletes expired challenges of logins, and at most `chunks` chunks of expired refresh tokens.

    Returns the number of the latter. Several processes may run it at once. Unavailable if the
    database is.
    """
    await database.execute(_SQL.delete_expired_challenges, CHUNK)
    return await _delete(database, _SQL.delete_expired_refresh_tokens, access_ttl_s, chunks)


async def prune_requests(database: Database, *, chunks: int = MAX_CHUNKS) -> int:
    """As `prune`, of logged requests that are no longer shown."""
    return await _delete(database, _SQL.delete_old_requests, KEPT_DAYS, chunks)


async def _delete(database: Database, query: str, bound: int, chunks: int) -> int:
    deleted = 0
    for _ in range(chunks):
        rows = await database.fetch(query, bound, CHUNK)
        deleted += len(rows)
        if len(rows) < CHUNK:
            break
        await asyncio.sleep(STATEMENT_PAUSE_S)
    return deleted
