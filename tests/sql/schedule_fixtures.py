"""Schedules for tests of the ledger's SQL, made as the API makes them and moved into the past."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from finpay import ids
from finpay.db.pool import Record
from finpay.ledger import payment_requests, schedule_runner, schedules
from finpay.ledger.changes import ChangeOrigin
from finpay.ledger.payment_requests import NewRequest
from finpay.ledger.schedules import Interval, NewSchedule
from tests.sql.ledger_fixtures import REFUSALS, Bank, Holder

DAILY = Interval("day", 1)


async def plan(
    bank: Bank, sender: Holder, receiver: Holder, *, due_days: float = 0.5, **changes: Any
) -> UUID:
    """A schedule whose first occurrence was due so many days ago."""
    members: dict[str, Any] = {
        "receiver_id": receiver.account_id,
        "receiver_email": None,
        "amount": 10,
        "currency": None,
        "description": None,
        "metadata": "{}",
        "start_at": datetime.now(UTC) + timedelta(hours=1),
        "every": DAILY,
        "timezone": "UTC",
        "until": None,
        "occurrences": None,
    } | changes
    new = NewSchedule(**members)
    result = await schedules.create(bank.app, origin(sender), new, ["{}"] * 4)
    assert result.answer is not None, result
    schedule_id = ids.decode("sch", json.loads(result.answer)["id"])
    await move_back(bank, schedule_id, due_days * 24 + 1)
    return schedule_id


async def ask(
    bank: Bank, requester: Holder, payer: Holder | None, amount: int = 10, **changes: Any
) -> UUID:
    """A payment request of one side to the other, or to any payer who has its id."""
    members: dict[str, Any] = {
        "amounts": [amount],
        "payer_emails": [None if payer is None else payer.email],
        "currency": None,
        "description": None,
        "metadata": "{}",
        "expires_in_s": 3_600,
        "is_split": False,
    } | changes
    result = await payment_requests.create(
        bank.app, origin(requester), NewRequest(**members), None, ["{}"] * 2
    )
    assert result.answer is not None, result
    return ids.decode("prq", json.loads(result.answer)["id"])


async def move_back(bank: Bank, schedule_id: UUID, hours: float) -> None:
    """As if it had been made so many hours earlier."""
    connection = await asyncpg.connect(bank.url)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "UPDATE ledger.schedules SET start_at = start_at - $2::interval, "
            "next_at = next_at - $2::interval, until = until - $2::interval WHERE id = $1",
            schedule_id,
            timedelta(hours=hours),
        )
    finally:
        await connection.close()


async def run_due(bank: Bank) -> int:
    return await schedule_runner.run_due(bank.app, REFUSALS)


async def change(bank: Bank, sender: Holder, schedule_id: UUID, verb: schedules.Command) -> str:
    result = await schedules.change(bank.app, origin(sender), schedule_id, verb)
    return result.outcome


async def schedule(bank: Bank, schedule_id: UUID) -> Record:
    return await bank.row("SELECT * FROM ledger.schedules WHERE id = $1", schedule_id)


async def runs(bank: Bank, schedule_id: UUID) -> list[Record]:
    """Its transactions in the order of their keys."""
    return list(
        await bank.app.fetch(
            "SELECT k.key::integer AS number, k.http_status, t.status::text, t.scheduled_for, t.id "
            "FROM ledger.idempotency_keys k LEFT JOIN ledger.transactions t "
            "ON t.id = k.transaction_id WHERE k.principal_id = $1 ORDER BY k.key::integer",
            schedule_id,
        )
    )


async def event_types(bank: Bank, holder: Holder) -> list[str]:
    rows = await bank.app.fetch(
        "SELECT type FROM outbox.events WHERE account_id = $1 ORDER BY sequence", holder.account_id
    )
    return [row["type"] for row in rows]


def origin(holder: Holder) -> ChangeOrigin:
    return ChangeOrigin(holder.user_id, "req_test", "192.0.2.1")


async def plan_many(
    url: str, senders: list[Holder], receivers: list[Holder], number: int, *, due_days: int = 0
) -> None:
    """So many daily schedules of one minor unit at once, each due since so many days."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "WITH made AS (INSERT INTO ledger.schedules (account_id, id, receiver_id, amount, "
            "start_at, next_at, created_at, every_count, every_unit, currency, timezone, metadata) "
            "SELECT ($1::uuid[])[1 + n % cardinality($1)], gen_random_uuid(), "
            "($2::uuid[])[1 + n % cardinality($2)], 1, d.due, d.due, d.due, 1, 'day', 'ZAR', "
            "'Africa/Johannesburg', '{}' FROM generate_series(1, $3) n CROSS JOIN LATERAL ("
            "SELECT now() - make_interval(days => $4, secs => (n % 60)::float8) AS due) d "
            "RETURNING id) INSERT INTO audit.log (created_at, action, subject_id) "
            "SELECT now(), 'schedule.created', id FROM made",
            [holder.account_id for holder in senders],
            [holder.account_id for holder in receivers],
            number,
            due_days,
        )
    finally:
        await connection.close()


async def end_requests(bank: Bank, *requests: UUID) -> None:
    """Lets the time of payment requests be over: as a superuser, as no trigger allows it."""
    connection = await asyncpg.connect(bank.url)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "UPDATE ledger.payment_requests SET expires_at = now() WHERE id = ANY ($1)",
            list(requests),
        )
    finally:
        await connection.close()
