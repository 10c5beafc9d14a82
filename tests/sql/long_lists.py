"""A million rows in each list, half of them of one account: no events, no keys.

Every row of a hold is due in a hundred years, and so are 5 000 schedules and payment requests of
other accounts.
"""

from typing import Final

import asyncpg

from tests.sql.ledger_fixtures import Bank, Holder

ROWS: Final = 1_000_000  # in each table
OWN: Final = ROWS // 2
RARE: Final = 100_000  # one of so many own rows has the rare status and the rare counterparty
OTHERS: Final = 5_000  # accounts that have the other rows

# $1 the account, $2 the usual and $3 the rare counterparty, $4 the number of own rows: each number
# is a row of $1 and one of another account. Ids rise with the numbers.
_OTHERS: Final = """
WITH made AS (
    INSERT INTO identity.users (id, email, password_hash)
    SELECT gen_random_uuid(), n || '@example.net', 'none' FROM generate_series(1, $1) n
    RETURNING id
)
INSERT INTO ledger.accounts (id, user_id, currency) SELECT id, id, 'ZAR' FROM made
"""
_FROM: Final = """
FROM generate_series(1, $4) n
CROSS JOIN LATERAL (
    SELECT (lpad(to_hex(n), 12, '0') || '7000800000000000abc' || side)::uuid AS id,
           CASE side WHEN '0' THEN $1
                     ELSE (ARRAY(SELECT id FROM others))[1 + n % 5000] END AS owner,
           CASE WHEN n % 100000 = 7 THEN $3 ELSE $2 END AS other,
           n % 100 = 2 AND side = '1' AS is_waiting,
           n % 100000 = 7 AS is_rare, n % 2 = 0 AS is_sent,
           timestamptz '2026-01-01' + n * interval '1 second' AS made_at
    FROM unnest(ARRAY['0', '1']) side
) r
"""
_WITH: Final = """
WITH others AS MATERIALIZED (
    SELECT id FROM ledger.accounts WHERE user_id IS NOT NULL AND id NOT IN ($1, $2, $3)
)
"""
_HOLDS: Final = f"""
{_WITH}
INSERT INTO ledger.holds (account_id, id, sender_id, receiver_id, amount, captured_amount,
                          opened_sequence, closed_sequence, created_at, closed_at, expires_at,
                          status, currency, metadata)
SELECT r.owner, r.id, CASE WHEN r.is_sent THEN r.owner ELSE r.other END,
       CASE WHEN r.is_sent THEN r.other ELSE r.owner END, 10, 10, n, n + 1, r.made_at, r.made_at,
       r.made_at + interval '100 years',
       CASE WHEN r.is_rare THEN 'voided' ELSE 'captured' END::ledger.hold_status,
       'ZAR', '{{}}' {_FROM}
"""
_EXPIRIES: Final = """
INSERT INTO ledger.hold_expiries (expires_at, account_id, hold_id)
SELECT expires_at, account_id, id FROM ledger.holds
"""
_WITHDRAWALS: Final = f"""
{_WITH}
INSERT INTO ledger.withdrawals (account_id, id, amount, opened_sequence, closed_sequence,
                                created_at, closed_at, status, currency, destination, reason)
SELECT r.owner, r.id, 10, n, n + 1, r.made_at, r.made_at,
       CASE WHEN r.is_rare THEN 'rejected' ELSE 'canceled' END::ledger.withdrawal_status,
       'ZAR', '{{}}', CASE WHEN r.is_rare THEN 'a reason' END {_FROM}
"""
_REQUESTS: Final = f"""
{_WITH}
INSERT INTO ledger.payment_requests (account_id, id, requester_id, payer_id, amount, expires_at,
                                     created_at, status, currency, metadata)
SELECT r.owner, r.id, CASE WHEN r.is_sent THEN r.owner ELSE r.other END,
       CASE WHEN r.is_sent THEN r.other ELSE r.owner END, 10,
       r.made_at + interval '100 years', r.made_at,
       CASE WHEN r.is_waiting THEN 'open' WHEN r.is_rare THEN 'declined' ELSE 'canceled'
       END::ledger.payment_request_status,
       'ZAR', '{{}}' {_FROM}
"""
_SCHEDULES: Final = f"""
{_WITH}
INSERT INTO ledger.schedules (account_id, id, receiver_id, amount, start_at, next_at, created_at,
                              status, currency, timezone, metadata)
SELECT r.owner, r.id, r.other, 10, r.made_at,
       CASE WHEN r.is_waiting THEN r.made_at + interval '100 years' END, r.made_at,
       CASE WHEN r.is_waiting THEN 'active' ELSE 'ended' END::ledger.schedule_status,
       'ZAR', 'UTC', '{{}}' {_FROM}
"""


async def fill(bank: Bank, owner: Holder, usual: Holder, rare: Holder) -> None:
    """All lists."""
    superuser = await asyncpg.connect(bank.url)
    try:
        await superuser.execute("SET session_replication_role = replica")
        await superuser.execute("SET synchronous_commit = off")
        await superuser.execute(_OTHERS, OTHERS)
        accounts = owner.account_id, usual.account_id, rare.account_id
        for statement in (_HOLDS, _WITHDRAWALS, _REQUESTS, _SCHEDULES):
            await superuser.execute(statement, *accounts, OWN, timeout=240)
        await superuser.execute(_EXPIRIES, timeout=240)
        await superuser.execute("ANALYZE")
    finally:
        await superuser.close()
