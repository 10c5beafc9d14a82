"""What the expiry of payment requests does: once, on both sides, and never to one in time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest

from finpay.ledger import payment_requests
from finpay.ledger.verify import verify
from tests.sql.ledger_fixtures import Bank, Holder
from tests.sql.request_traffic import pay
from tests.sql.schedule_fixtures import ask, end_requests, event_types, origin


@pytest.fixture
async def bank(fresh_database: Callable[[], str]) -> AsyncIterator[Bank]:
    """A database of its own, verified after the test."""
    bank = Bank(fresh_database())
    yield bank
    report = await verify(bank.owner)
    assert report.ok, [check for check in report.checks if not check.ok]
    await bank.close()


async def expire(bank: Bank) -> int:
    return await payment_requests.expire(bank.app, None)


@pytest.mark.contract("11.1.7")
async def test_what_is_due_expires_on_both_sides_once(bank: Bank) -> None:
    alice, bob = await bank.open(), await bank.open(100)
    due, in_time, paid = [await ask(bank, alice, bob) for _ in range(3)]
    await pay(bank, bob, paid)
    await end_requests(bank, due, paid)
    assert await expire(bank) == 1
    assert await expire(bank) == 0
    for holder in (alice, bob):
        assert [await status(bank, holder, each) for each in (due, in_time, paid)] == [
            "expired", "open", "paid",
        ]  # fmt: skip
        assert (await event_types(bank, holder)).count("payment_request.expired") == 1


async def test_an_overdue_request_is_not_paid_canceled_or_declined(bank: Bank) -> None:
    alice, bob = await bank.open(), await bank.open(100)
    asked = await ask(bank, alice, bob)
    await end_requests(bank, asked)
    await pay(bank, bob, asked)
    for holder, ending in ((alice, "canceled"), (bob, "declined")):
        result = await payment_requests.end(
            bank.app, origin(holder), asked, "canceled" if holder is alice else "declined", None
        )
        assert (result.outcome, result.status_now) == ("request_not_open", "expired"), ending
    assert (await bank.balance(alice), await bank.balance(bob)) == (0, 100)


@pytest.mark.contract("11.1.7")
async def test_one_of_payment_cancellation_decline_and_expiry_wins(bank: Bank) -> None:
    alice, bob = await bank.open(), await bank.open(1_000)
    paid = 0
    for _ in range(25):
        asked = await ask(bank, alice, bob)
        await asyncio.gather(
            pay(bank, bob, asked),
            payment_requests.end(bank.app, origin(alice), asked, "canceled", None),
            _end_and_expire(bank, asked),
            payment_requests.end(bank.app, origin(bob), asked, "declined", None),
        )
        await expire(bank)
        now = await status(bank, alice, asked)
        assert now == await status(bank, bob, asked) != "open"
        paid += 10 * (now == "paid")
    assert (await bank.balance(alice), await bank.balance(bob)) == (paid, 1_000 - paid)


async def test_locked_accounts_are_left_for_the_next_time(bank: Bank) -> None:
    alice, bob, carol = [await bank.open() for _ in range(3)]
    waiting, other = await ask(bank, alice, bob), await ask(bank, bob, carol)
    free = await ask(bank, carol, None)
    await end_requests(bank, waiting, other, free)
    async with bank.owner.transaction() as holder_of_lock:
        await holder_of_lock.execute(
            "SELECT FROM ledger.accounts WHERE id = $1 FOR UPDATE", bob.account_id
        )
        assert await expire(bank) == 1
    assert await expire(bank) == 2


async def _end_and_expire(bank: Bank, asked: UUID) -> None:
    await end_requests(bank, asked)
    await expire(bank)


async def status(bank: Bank, holder: Holder, asked: UUID) -> str:
    row = await bank.row(
        "SELECT status::text FROM ledger.payment_requests WHERE account_id = $1 AND id = $2",
        holder.account_id,
        asked,
    )
    found: str = row["status"]
    return found
