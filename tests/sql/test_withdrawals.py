"""Withdrawals: their amount is held for their owner alone, until they end."""

from collections.abc import Callable

import pytest

from finpay.ledger.posting import Operation
from tests.sql.hold_fixtures import withdrawal_since_yesterday
from tests.sql.ledger_fixtures import Bank, Holder, operation


@pytest.fixture
async def alice(bank: Bank) -> Holder:
    return await bank.open(100)


def withdrawal(owner: Holder, amount: int) -> Operation:
    return operation("withdrawal", owner, amount=amount, metadata='{"iban":"ZA1"}')


@pytest.mark.contract("10.1.2")
async def test_others_do_not_find_a_withdrawal(bank: Bank, alice: Holder) -> None:
    bob = await bank.open(100)
    request = withdrawal(alice, 30)
    own = withdrawal(bob, 40)
    await bank.post(request, own)
    assert await bank.outcome(operation("cancel", bob, target=request.id)) == "not_found"
    assert (await bank.held(alice), await bank.held(bob)) == (30, 40)
    assert await bank.outcome(operation("cancel", alice, target=request.id)) == "completed"
    assert (await bank.held(alice), await bank.held(bob)) == (0, 40)


async def test_what_is_held_for_a_withdrawal_is_not_spent(bank: Bank, alice: Holder) -> None:
    first, second = [withdrawal(alice, 60) for _ in range(2)]
    assert await bank.outcomes(first, second) == ["completed", "insufficient_funds"]
    assert (await bank.balance(alice), await bank.held(alice)) == (100, 60)
    row = await bank.row("SELECT * FROM ledger.withdrawals WHERE id = $1", first.id)
    assert (row["status"], row["amount"], row["transaction_id"]) == ("pending", 60, None)


@pytest.mark.parametrize("is_today", [True, False])
async def test_a_canceled_withdrawal_is_given_back_to_the_limit_of_its_day(
    fresh_database: Callable[[], str], *, is_today: bool
) -> None:
    bank = Bank(fresh_database())
    alice = await bank.open(100)
    await bank.limit(alice, daily=50)
    request = withdrawal(alice, 50)
    await bank.post(request)
    if not is_today:
        await withdrawal_since_yesterday(bank, request.id)
    await bank.post(operation("cancel", alice, target=request.id))
    second = withdrawal(alice, 1)
    assert await bank.outcome(second) == ("completed" if is_today else "limit_exceeded")
    await bank.close()
