"""Holds made older than they are, one or very many: the database's clock can't be moved."""

from typing import Final
from uuid import UUID

import asyncpg

from tests.sql.ledger_fixtures import Bank, Holder

_MANY: Final = """
WITH senders AS (
    SELECT gen_random_uuid() AS id, gen_random_uuid() AS user_id FROM generate_series(1, $2)
), users AS (
    INSERT INTO identity.users (id, email, password_hash)
    SELECT user_id, user_id || '@example.com', 'none' FROM senders
), accounts AS (
    INSERT INTO ledger.accounts (id, user_id, currency, balance, held, sequence)
    SELECT id, user_id, 'ZAR', 3 * $3::bigint, $3, $3 FROM senders
), holds AS (
    SELECT gen_random_uuid() AS id, s.id AS sender_id,
           row_number() OVER (PARTITION BY s.id) AS number,
           row_number() OVER () AS place
    FROM senders s CROSS JOIN generate_series(1, $3)
), made AS (
    INSERT INTO ledger.holds (account_id, id, sender_id, receiver_id, amount, opened_sequence,
                              created_at, expires_at, status, currency, metadata)
    SELECT side.account_id, h.id, h.sender_id, $1, 1, side.sequence, now() - interval '1 hour',
           now() - place * interval '1 microsecond', 'open', 'ZAR', '{}'
    FROM holds h
    CROSS JOIN LATERAL (VALUES (h.sender_id, h.number), ($1, h.place))
        AS side (account_id, sequence)
    RETURNING expires_at, account_id, id
)
INSERT INTO ledger.hold_expiries (expires_at, account_id, hold_id) SELECT * FROM made
"""

_CLOSE_OLDEST: Final = """
WITH oldest AS (
    SELECT id FROM ledger.holds WHERE account_id = sender_id ORDER BY expires_at LIMIT $1
), closed AS (
    UPDATE ledger.holds h SET status = 'voided', closed_at = h.created_at
    FROM oldest o WHERE h.id = o.id
    RETURNING h.account_id, h.amount, h.sender_id
)
UPDATE ledger.accounts a SET held = a.held - c.amount
FROM (SELECT account_id, sum(amount) AS amount FROM closed
      WHERE account_id = sender_id GROUP BY account_id) c
WHERE a.id = c.account_id
"""

_END: Final = """
WITH expiries AS (UPDATE ledger.hold_expiries SET expires_at = now() WHERE hold_id = ANY ($1))
UPDATE ledger.holds SET expires_at = now() WHERE id = ANY ($1)
"""

_YESTERDAY: Final = """
WITH aged AS (
    UPDATE ledger.holds SET created_at = created_at - interval '1 day' WHERE id = $1
    RETURNING account_id, sender_id, amount
)
UPDATE ledger.accounts a SET sent_today = a.sent_today - g.amount
FROM aged g WHERE a.id = g.sender_id AND g.account_id = g.sender_id
"""


async def end_holds(bank: Bank, *hold_ids: UUID) -> None:
    """Lets the time of these holds be over."""
    await _change(bank, _END, list(hold_ids))


async def hold_since_yesterday(bank: Bank, hold_id: UUID) -> None:
    """Lets a hold be made, and its amount be counted in the sender's limit, on the day before."""
    await _change(bank, _YESTERDAY, hold_id)


async def withdrawal_since_yesterday(bank: Bank, withdrawal_id: UUID) -> None:
    age = "UPDATE ledger.withdrawals SET created_at = created_at - interval '1 day' WHERE id = $1"
    await _change(bank, age, withdrawal_id)


async def hold_many(bank: Bank, receiver: Holder, *, senders: int, of_each: int) -> None:
    """Holds of 1 that are due, without the events and keys of their creation."""
    await _change(bank, _MANY, receiver.account_id, senders, of_each)
    await _change(
        bank,
        "UPDATE ledger.accounts SET sequence = sequence + $2 WHERE id = $1",
        receiver.account_id,
        senders * of_each,
    )


async def close_oldest(bank: Bank, number: int) -> None:
    """Voids so many of hold_many, the longest due first: their money and their rows alone."""
    await _change(bank, _CLOSE_OLDEST, number)


async def _change(bank: Bank, statement: str, *args: object) -> None:
    """As a superuser, so that no trigger keeps the rows as they were."""
    connection = await asyncpg.connect(bank.url)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement, *args)
    finally:
        await connection.close()
