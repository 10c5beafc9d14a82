"""Runs of schedules: each occurrence once, late ones in order, failures counted."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from finpay.db.pool import Database
from finpay.ledger import schedule_runner, schedules
from finpay.ledger.verify import verify
from tests.sql.ledger_fixtures import LIMIT, REFUSALS, Bank, Holder
from tests.sql.schedule_fixtures import (
    change,
    event_types,
    plan,
    run_due,
    runs,
    schedule,
)


@pytest.fixture
async def bank(fresh_database: Callable[[], str]) -> AsyncIterator[Bank]:
    """A database of the test's own: a run takes all that is due."""
    own = Bank(fresh_database())
    yield own
    report = await verify(own.owner)
    await own.close()
    assert report.ok, [check for check in report.checks if not check.ok]


@pytest.fixture
async def alice(bank: Bank) -> Holder:
    return await bank.open(1_000)


@pytest.fixture
async def bob(bank: Bank) -> Holder:
    return await bank.open()


@pytest.mark.contract("7.1.3", "11.2.3")
async def test_what_is_due_is_run_once(bank: Bank, alice: Holder, bob: Holder) -> None:
    due = await plan(bank, alice, bob, description="Rent", metadata='{"a":"b"}')
    later = await plan(bank, alice, bob, due_days=-0.5)
    first = await schedule(bank, due)
    assert [await run_due(bank) for _ in range(3)] == [1, 0, 0]
    (run,) = await runs(bank, due)
    assert (run["number"], run["status"], run["scheduled_for"]) == (
        0, "completed", first["next_at"],
    )  # fmt: skip
    row = await bank.row("SELECT * FROM ledger.transactions WHERE id = $1", run["id"])
    found = row["origin_type"], row["origin_id"], row["description"], row["metadata"]
    assert found == ("schedule", due, "Rent", '{"a":"b"}')
    now = await schedule(bank, due)
    assert now["next_at"] == first["next_at"] + timedelta(days=1)
    assert (now["runs"], now["last_transaction_id"], now["leased_until"]) == (1, run["id"], None)
    assert (await schedule(bank, later))["runs"] == 0
    assert await bank.count("ledger.idempotency_keys", "principal_id = $1", alice.user_id) == 0
    assert await bank.count("ledger.idempotency_keys", "principal_id = $1", due) == 1
    assert (await bank.balance(alice), await bank.balance(bob)) == (990, 10)


@pytest.mark.contract("11.2.9")
async def test_an_event_of_a_run_has_no_request(bank: Bank, alice: Holder, bob: Holder) -> None:
    await plan(bank, alice, bob, every=None)
    await run_due(bank)
    rows = await bank.app.fetch(
        "SELECT account_id, type, actor_id, request_id, idempotency_key, data, previous "
        "FROM outbox.events WHERE type <> 'schedule.created' AND transaction_id IS NOT NULL "
        "OR type = 'schedule.ended' ORDER BY account_id, sequence"
    )
    rows = [row for row in rows if row["account_id"] == alice.account_id][1:]  # after the funding
    assert [row["type"] for row in rows] == ["transaction.completed", "schedule.ended"]
    for row in rows:
        assert row["actor_id"] == alice.user_id
        assert (row["request_id"], row["idempotency_key"]) == (None, None)
    ended = json.loads(rows[1]["data"])
    assert (ended["status"], ended["next_at"], ended["runs"]) == ("ended", None, 1)
    assert json.loads(rows[1]["previous"])["status"] == "active"


@pytest.mark.contract("11.2.3")
async def test_missed_occurrences_are_run_late_and_in_order(
    bank: Bank, alice: Holder, bob: Holder
) -> None:
    due = await plan(bank, alice, bob, due_days=6.5)
    start = (await schedule(bank, due))["start_at"]
    assert await run_due(bank) == 7
    found = await runs(bank, due)
    assert [run["scheduled_for"] for run in found] == [start + timedelta(days=n) for n in range(7)]
    assert [run["id"] for run in found] == sorted(run["id"] for run in found)
    now = await schedule(bank, due)
    assert (now["runs"], now["status"], now["late_in_a_row"]) == (7, "active", 0)


@pytest.mark.contract("11.2.3")
async def test_after_366_late_runs_it_is_paused(bank: Bank, alice: Holder, bob: Holder) -> None:
    due = await plan(bank, alice, bob, amount=1, due_days=400)
    assert await run_due(bank) == 366
    now = await schedule(bank, due)
    assert (now["runs"], now["status"]) == (366, "paused")
    assert (await event_types(bank, alice))[-1] == "schedule.paused"
    assert await change(bank, alice, due, "resume") == "completed"
    assert await run_due(bank) == 0
    now = await schedule(bank, due)
    assert (now["next_occurrence"], now["runs"]) == (401, 366)


@pytest.mark.contract("11.2.3")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"every": None}, 1), ({"occurrences": 3}, 3)],
)
async def test_it_ends_after_its_last_run(
    bank: Bank, alice: Holder, bob: Holder, changes: dict[str, object], expected: int
) -> None:
    due = await plan(bank, alice, bob, due_days=9, **changes)
    assert await run_due(bank) == expected
    now = await schedule(bank, due)
    assert (now["runs"], now["status"], now["next_at"]) == (expected, "ended", None)
    assert (await event_types(bank, alice))[-1] == "schedule.ended"


@pytest.mark.contract("11.2.3")
async def test_until_is_inclusive(bank: Bank, alice: Holder, bob: Holder) -> None:
    due = await plan(bank, alice, bob, due_days=9)
    start = (await schedule(bank, due))["start_at"]
    await bank.owner.execute("ALTER TABLE ledger.schedules DISABLE TRIGGER USER")
    await bank.owner.execute(
        "UPDATE ledger.schedules SET until = $2 WHERE id = $1", due, start + timedelta(days=2)
    )
    await bank.owner.execute("ALTER TABLE ledger.schedules ENABLE TRIGGER USER")
    assert await run_due(bank) == 3
    assert (await schedule(bank, due))["status"] == "ended"


@pytest.mark.contract("11.2.5")
async def test_three_failures_in_a_row_pause_it(bank: Bank, alice: Holder, bob: Holder) -> None:
    due = await plan(bank, alice, bob, amount=600, due_days=9.5)
    assert await run_due(bank) == 4
    found = [(run["http_status"], run["status"]) for run in await runs(bank, due)]
    assert found == [(201, "completed"), *[(402, "failed")] * 3]
    now = await schedule(bank, due)
    assert (now["status"], now["runs"], now["failures_in_a_row"]) == ("paused", 4, 3)
    assert now["last_failure_code"] == "insufficient_funds"
    failure = ["transaction.failed", "schedule.failed"]
    assert (await event_types(bank, alice))[-7:] == [*failure * 3, "schedule.paused"]
    await bank.fund(alice, 10_000)
    assert await change(bank, alice, due, "resume") == "completed"
    now = await schedule(bank, due)
    assert (now["status"], now["failures_in_a_row"], now["runs"]) == ("active", 0, 4)


@pytest.mark.contract("11.2.5")
async def test_a_success_ends_a_row_of_failures(bank: Bank, alice: Holder, bob: Holder) -> None:
    due = await plan(bank, alice, bob, amount=600, due_days=3.5)
    for run in range(4):
        if run == 3:
            await bank.fund(alice, 5_000)
        assert await schedules.run(bank.app, await schedules.lease(bank.app, 1), REFUSALS) == 1
    now = await schedule(bank, due)
    found = now["failures_in_a_row"], now["last_failure_code"], now["status"], now["runs"]
    assert found == (0, None, "active", 4)


@pytest.mark.contract("11.2.5")
@pytest.mark.parametrize(
    ("frozen", "code"), [("alice", "account_frozen"), ("bob", "receiver_unavailable")]
)
async def test_what_is_refused_counts_as_a_failure(
    bank: Bank, alice: Holder, bob: Holder, frozen: str, code: str
) -> None:
    due = await plan(bank, alice, bob)
    await bank.freeze(alice if frozen == "alice" else bob)
    assert await run_due(bank) == 1
    now = await schedule(bank, due)
    assert (now["runs"], now["last_failure_code"], now["last_transaction_id"]) == (1, code, None)
    assert (await event_types(bank, alice))[-1] == "schedule.failed"


@pytest.mark.contract("7.8.2", "11.2.5")
async def test_a_run_counts_in_the_limit_and_one_above_it_is_a_failure(
    bank: Bank, alice: Holder, bob: Holder
) -> None:
    await bank.limit(alice, daily=15)
    due = await plan(bank, alice, bob, due_days=1.5)
    await run_due(bank)
    await run_due(bank)
    now = await schedule(bank, due)
    assert (now["runs"], now["last_failure_code"]) == (2, "limit_exceeded")
    assert (await bank.account(alice))["sent_today"] == 10


@pytest.mark.contract("11.2.5")
async def test_a_full_receiver_is_a_failure(bank: Bank, alice: Holder) -> None:
    full = await bank.open(LIMIT)
    due = await plan(bank, alice, full)
    await run_due(bank)
    assert (await schedule(bank, due))["last_failure_code"] == "balance_limit"


@pytest.mark.contract("11.2.3")
async def test_a_lease_that_was_lost_runs_nothing_twice(
    bank: Bank, alice: Holder, bob: Holder
) -> None:
    """A worker that was killed after the commit, before the commit, and one that comes late."""
    due = await plan(bank, alice, bob, due_days=2.5)
    leased = await schedules.lease(bank.app, 10)
    assert [run.occurrence for run in leased] == [0]
    assert await schedules.lease(bank.app, 10) == []  # until the lease ends
    await bank.owner.execute("UPDATE ledger.schedules SET leased_until = now()")
    repeated = await schedules.lease(bank.app, 10)
    assert await schedules.run(bank.app, repeated, REFUSALS) == 1
    assert await schedules.run(bank.app, leased, REFUSALS) == 0
    assert await schedules.run(bank.app, repeated, REFUSALS) == 0
    assert await run_due(bank) == 2
    assert [run["number"] for run in await runs(bank, due)] == [0, 1, 2]
    assert await bank.balance(bob) == 30


@pytest.mark.contract("11.2.3")
async def test_what_was_paused_or_canceled_meanwhile_is_not_run(
    bank: Bank, alice: Holder, bob: Holder
) -> None:
    for verb in ("pause", "cancel"):
        due = await plan(bank, alice, bob)
        leased = await schedules.lease(bank.app, 10)
        assert await change(bank, alice, due, verb) == "completed"
        assert await schedules.run(bank.app, leased, REFUSALS) == 0
    assert await bank.balance(bob) == 0


@pytest.mark.contract("11.2.3")
async def test_many_workers_run_each_occurrence_once(bank: Bank) -> None:
    holders = [await bank.open(1_000) for _ in range(6)]
    due = [
        await plan(bank, holders[n % 6], holders[(n + 1 + n % 3) % 6], due_days=3.5)
        for n in range(30)
    ]
    done = await asyncio.gather(*(run_due(bank) for _ in range(4)))
    assert sum(done) == 30 * 4
    for one in due:
        assert [run["number"] for run in await runs(bank, one)] == [0, 1, 2, 3]


@pytest.mark.contract("11.2.3")
async def test_a_run_that_fails_as_a_whole_is_taken_apart(
    bank: Bank, alice: Holder, bob: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    carol = await bank.open(100)
    await plan(bank, alice, bob)
    await plan(bank, carol, bob)
    monkeypatch.setattr(schedules, "LEASE_S", 1)
    impatient = Database(bank.url, size=1, lock_timeout_ms=100)
    async with bank.owner.transaction() as holding:
        await holding.execute(
            "SELECT FROM ledger.accounts WHERE id = $1 FOR UPDATE", alice.account_id
        )
        assert await schedule_runner.run_due(impatient, REFUSALS) == 1
    await impatient.close()
    await asyncio.sleep(1.1)
    assert await run_due(bank) == 1
