"""Forgets refresh tokens that expired, a chunk at a time.

Every refresh leaves a token, kept to recognise its reuse. Once it has expired it is refused like an
unknown one, so nothing needs its row any more. Sessions stay: the audit log tells of them.
"""

import asyncio
from typing import Final

from finpay.db import queries
from finpay.db.pool import Database

PAUSE_S: Final = 600.0  # between rounds: nothing that was kept for weeks is late by minutes
CHUNK: Final = 1_000  # some 20 ms of one connection; requests go on between two of them
BREATH_S: Final = 0.05

_SQL: Final = queries.load("finpay.identity", "cleanup.sql")


async def prune(database: Database, *, access_ttl_s: int, chunks: int = 1_000) -> int:
    """Deletes at most `chunks` chunks of expired refresh tokens; how many are gone.

    `Unavailable` if the database is; it may be called again at any time, and by several processes
    at once.
    """
    gone = 0
    for _ in range(chunks):
        tokens = await database.fetch(_SQL.delete_expired_refresh_tokens, access_ttl_s, CHUNK)
        gone += len(tokens)
        if len(tokens) < CHUNK:
            break
        await asyncio.sleep(BREATH_S)
    return gone
