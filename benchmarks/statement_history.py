"""A long history of one account, written to the tables as the ledger would have written it."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
STEP: Final = timedelta(seconds=60)
LIMIT_S: Final = 120.0

# An entry of 5 each STEP, from a partner who pays and is paid in turns.
_HISTORY: Final = """
WITH made AS (
    SELECT n, gen_random_uuid() AS id, $3::timestamptz + (n - 1) * $4::interval AS moment,
           CASE WHEN n % 2 = 1 THEN 5 ELSE -5 END AS amount
    FROM generate_series(1, $5::bigint) n
), transactions AS (
    INSERT INTO ledger.transactions (id, sender_id, receiver_id, amount, created_at,
        sender_version, receiver_version, type, status, currency, description, metadata)
    SELECT id, CASE WHEN amount > 0 THEN $2::uuid ELSE $1 END,
           CASE WHEN amount > 0 THEN $1::uuid ELSE $2 END,
           5, moment, n, n, 'transfer', 'completed', 'ZAR', 'payment ' || n, '{}'
    FROM made
), entries AS (
    INSERT INTO ledger.entries (account_id, transaction_id, version, sequence, amount,
                                balance_after, created_at)
    SELECT a.id, m.id, m.n, m.n, m.amount * a.side, (m.n % 2) * 5 * a.side, m.moment
    FROM made m, (VALUES ($1::uuid, 1), ($2::uuid, -1)) a (id, side)
)
UPDATE ledger.accounts a SET version = $5, sequence = $5, balance = ($5::bigint % 2) * 5
WHERE a.id IN ($1, $2)
"""


async def write_history(url: str, account_id: UUID, partner_id: UUID, entries: int) -> None:
    """So many entries for both accounts, which had none, the first at FIRST. An even number leaves
    both balances at 0."""
    superuser = await asyncpg.connect(url)
    try:
        await superuser.execute(
            _HISTORY, account_id, partner_id, FIRST, STEP, entries, timeout=LIMIT_S
        )
    finally:
        await superuser.close()
