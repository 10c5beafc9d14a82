"""Deletes old mails and the expired tokens of their links, also where FinPay sends no mails."""

import asyncio
from typing import Final

from finpay.db import queries
from finpay.db.pool import Database

PAUSE_S: Final = 600.0  # between two runs; mails are kept for days, so minutes do not matter
KEPT_DAYS: Final = 7  # longer than a mail is tried
CHUNK: Final = 1_000  # rows of one statement
MAX_CHUNKS: Final = 1_000  # of one run
STATEMENT_PAUSE_S: Final = 0.05  # leaves the disk and the connection to requests

_SQL: Final = queries.load("finpay.mail")


async def prune(database: Database, *, chunks: int = MAX_CHUNKS) -> int:
    """Deletes at most `chunks` chunks of mails, and returns how many mails that were."""
    await database.execute(_SQL.delete_expired_tokens, CHUNK)
    deleted = 0
    for _ in range(chunks):
        rows = await database.fetch(_SQL.delete_old_messages, KEPT_DAYS, CHUNK)
        deleted += len(rows)
        if len(rows) < CHUNK:
            break
        await asyncio.sleep(STATEMENT_PAUSE_S)
    return deleted
