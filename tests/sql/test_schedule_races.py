"""Runs of schedules that meet other workers, changes and payments: each occurrence at most once."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from finpay import ids
from finpay.ledger import schedules
from finpay.ledger.schedules import DueRun
from finpay.ledger.verify import verify
from tests.sql.ledger_fixtures import REFUSALS, Bank, transfer
from tests.sql.schedule_fixtures import change, plan, run_due, runs, schedule


@pytest.fixture
async def bank(fresh_database: Callable[[], str]) -> AsyncIterator[Bank]:
    """A database of its own, verified after the test."""
    bank = Bank(fresh_database(), size=8)
    yield bank
    report = await verify(bank.owner)
    assert report.ok, [check for check in report.checks if not check.ok]
    await bank.close()


@pytest.mark.contract("11.2.3")
async def test_what_is_not_due_is_not_run(bank: Bank) -> None:
    """Whatever a worker believes: a lease decides nothing."""
    a, b = await bank.open(100), await bank.open()
    early = await plan(bank, a, b, due_days=-1)
    due = await plan(bank, a, b, due_days=0.5)
    believed = [
        DueRun(a.account_id, early, 0, ids.new_uuid()),
        DueRun(a.account_id, due, 0, ids.new_uuid()),
        DueRun(a.account_id, due, 1, ids.new_uuid()),
    ]
    for run in believed:
        await schedules.run(bank.app, [run], REFUSALS)
    assert (await runs(bank, early), len(await runs(bank, due))) == ([], 1)
    assert await bank.balance(b) == 10


@pytest.mark.contract("11.2.3")
@pytest.mark.parametrize("command", ["pause", "cancel"])
async def test_a_change_comes_before_or_after_a_run(bank: Bank, command: str) -> None:
    a, b = await bank.open(1_000), await bank.open()
    for _ in range(15):
        planned = await plan(bank, a, b, due_days=0.5)
        before = await bank.balance(b)
        outcome, _, _ = await asyncio.gather(
            change(bank, a, planned, "pause" if command == "pause" else "cancel"),
            run_due(bank),
            run_due(bank),
        )
        made = await runs(bank, planned)
        assert outcome == "completed"
        assert len(made) <= 1
        assert await bank.balance(b) == before + 10 * len(made)
        row = await schedule(bank, planned)
        assert (row["status"], row["runs"]) == (
            "paused" if command == "pause" else "ended", len(made),
        )  # fmt: skip


async def test_runs_and_payments_spend_the_same_money_once(bank: Bank) -> None:
    a, b = await bank.open(50), await bank.open()
    planned = [await plan(bank, a, b, amount=10, every=None, due_days=0.5) for _ in range(5)]
    outcomes, _ = await asyncio.gather(
        asyncio.gather(*(bank.outcome(transfer(a, b, 10)) for _ in range(5))), run_due(bank)
    )
    made = [run["status"] for each in planned for run in await runs(bank, each)]
    assert len(made) == 5
    assert outcomes.count("completed") + made.count("completed") == 5  # type: ignore[arg-type]
    assert (await bank.balance(a), await bank.balance(b)) == (0, 50)
