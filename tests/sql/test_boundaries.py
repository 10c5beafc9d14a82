"""Each comparison of the ledger, at the last value that passes and the first that doesn't."""

import pytest

from finpay.errors import Code, FinPayError
from tests.sql.ledger_fixtures import LIMIT, Bank, transfer


@pytest.mark.parametrize(
    ("balance", "held", "amount", "outcome"),
    [
        (100, 0, 99, "completed"),
        (100, 0, 100, "completed"),
        (100, 0, 101, "insufficient_funds"),
        (100, 30, 69, "completed"),
        (100, 30, 70, "completed"),
        (100, 30, 71, "insufficient_funds"),
        (100, 100, 1, "insufficient_funds"),
        (1, 0, 1, "completed"),
        (0, 0, 1, "insufficient_funds"),
        (LIMIT, 0, LIMIT - 1, "completed"),
        (LIMIT, 0, LIMIT, "completed"),
        (LIMIT - 1, 0, LIMIT, "insufficient_funds"),
    ],
)
async def test_what_is_available_can_be_sent(
    bank: Bank, balance: int, held: int, amount: int, outcome: str
) -> None:
    a, b = await bank.open(balance), await bank.open()
    if held:
        await bank.hold(a, b, held)
    assert await bank.outcome(transfer(a, b, amount)) == outcome
    moved = amount if outcome == "completed" else 0
    assert (await bank.balance(a), await bank.balance(b)) == (balance - moved, moved)


@pytest.mark.parametrize(
    ("balance", "amount", "outcome"),
    [
        (LIMIT - 6, 5, "completed"),
        (LIMIT - 5, 5, "completed"),
        (LIMIT - 4, 5, "balance_limit"),
        (LIMIT - 1, 1, "completed"),
        (LIMIT, 1, "balance_limit"),
        (1, LIMIT - 1, "completed"),
        (1, LIMIT, "balance_limit"),
        (2, LIMIT - 1, "balance_limit"),
        (LIMIT, LIMIT, "balance_limit"),
        (0, LIMIT, "completed"),
    ],
)
async def test_a_receiver_is_filled_to_the_limit(
    bank: Bank, balance: int, amount: int, outcome: str
) -> None:
    a, b = await bank.open(LIMIT), await bank.open(balance)
    assert await bank.outcome(transfer(a, b, amount)) == outcome
    moved = amount if outcome == "completed" else 0
    assert (await bank.balance(a), await bank.balance(b)) == (LIMIT - moved, balance + moved)


@pytest.mark.parametrize(
    ("balance", "amount"), [(LIMIT - 6, 5), (LIMIT - 5, 5), (LIMIT - 1, 1), (0, LIMIT)]
)
async def test_a_funding_that_fits(bank: Bank, balance: int, amount: int) -> None:
    a = await bank.open(balance)
    assert (await bank.fund(a, amount)).balance == balance + amount
    assert await bank.balance(a) == balance + amount


@pytest.mark.parametrize(("balance", "amount"), [(LIMIT - 4, 5), (1, LIMIT), (LIMIT, 1)])
async def test_a_funding_beyond_the_limit(bank: Bank, balance: int, amount: int) -> None:
    a = await bank.open(balance)
    with pytest.raises(FinPayError) as refused:
        await bank.fund(a, amount)
    assert refused.value.code is Code.BALANCE_LIMIT
    assert await bank.balance(a) == balance


async def test_a_hold_does_not_count_against_the_receiver_s_limit(bank: Bank) -> None:
    a, b = await bank.open(10), await bank.open(LIMIT - 5)
    await bank.hold(b, a, LIMIT - 5)
    assert await bank.outcome(transfer(a, b, 6)) == "balance_limit"
    assert await bank.outcome(transfer(a, b, 5)) == "completed"
