"""Workers run schedules and expire payment requests, whatever is killed."""

import asyncio

import pytest

from finpay import ids
from tests.backdating import end_time
from tests.delivery.fixtures import System
from tests.sql.schedule_fixtures import ask, plan_many

SCHEDULES = 600
RUNS = 6  # of each: one due now, the others late
LIMIT_S = 90


@pytest.mark.contract("11.2.3")
async def test_killed_workers_run_each_occurrence_once(system: System) -> None:
    """Three workers, of which one is killed every half second in the middle of its runs."""
    senders = [await system.bank.open(10_000) for _ in range(20)]
    receivers = [await system.bank.open() for _ in range(7)]
    await plan_many(system.url, senders, receivers, SCHEDULES, due_days=RUNS - 1)
    for _ in range(3):
        system.start_worker()
    killed = 0
    async with asyncio.timeout(LIMIT_S):
        while (done := await _runs(system)) < SCHEDULES * RUNS:
            if done > killed * 700 and killed < 5:
                system.workers[killed].kill()
                system.start_worker()
                killed += 1
            await asyncio.sleep(0.1)
    assert killed >= 3
    rows = await system.bank.app.fetch(
        "SELECT principal_id, count(*) AS runs, min(key::integer), max(key::integer) "
        "FROM ledger.idempotency_keys WHERE principal_id IN (SELECT id FROM ledger.schedules) "
        "GROUP BY principal_id"
    )
    assert [tuple(row)[1:] for row in rows] == [(RUNS, 0, RUNS - 1)] * SCHEDULES
    balances = [await system.bank.balance(holder) for holder in receivers]
    assert sum(balances) == SCHEDULES * RUNS
    await system.verify()


@pytest.mark.contract("11.1.6")
async def test_a_worker_expires_what_is_not_paid_in_time(system: System) -> None:
    alice, bob = await system.bank.open(), await system.bank.open()
    over, open_ = await ask(system.bank, alice, bob), await ask(system.bank, alice, None)
    end_time(system.url, ids.encode("prq", over))
    system.start_worker()
    async with asyncio.timeout(20):
        while await system.bank.count("ledger.payment_requests", "status = 'expired'") < 2:
            await asyncio.sleep(0.1)
    left = await system.bank.app.fetch(
        "SELECT DISTINCT id FROM ledger.payment_requests WHERE status = 'open'"
    )
    assert [row["id"] for row in left] == [open_]
    types = await system.bank.app.fetch(
        "SELECT type, actor_id, request_id FROM outbox.events WHERE type LIKE 'payment_request.e%'"
    )
    assert [tuple(row) for row in types] == [("payment_request.expired", None, None)] * 2
    await system.verify()


async def _runs(system: System) -> int:
    return await system.bank.count(
        "ledger.idempotency_keys", "principal_id IN (SELECT id FROM ledger.schedules)"
    )
