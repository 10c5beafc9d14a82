"""Forgets refresh tokens and sessions that ended long ago, a chunk at a time.

Every login leaves a session, and every refresh a token that is kept to recognise its reuse. Once a
token has expired it is refused like an unknown one, so nothing needs its row any more.
"""

from typing import Final

from finpay.db import queries
from finpay.db.pool import Database

CHUNK: Final = 1_000  # some 20 ms of one connection; requests go on between two of them

_SQL: Final = queries.load("finpay.identity", "pruning.sql")


async def prune(database: Database, *, access_ttl_s: int, chunks: int) -> int:
    """Deletes at most `chunks` chunks of expired refresh tokens, and the sessions left without.

    How many rows are gone. `Unavailable` if the database is; it may be called again at any time,
    and by several processes at once.
    """
    gone = 0
    for _ in range(chunks):
        async with database.transaction() as transaction:
            tokens = await transaction.fetch(_SQL.prune_refresh_tokens, access_ttl_s, CHUNK)
            sessions = sorted({row["session_id"] for row in tokens})
            ended = await transaction.fetch(_SQL.prune_sessions, sessions)
        gone += len(tokens) + len(ended)
        if len(tokens) < CHUNK:
            break
    return gone
