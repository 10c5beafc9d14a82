"""Operations that meet: whatever is first, the books stay exact and each answer is documented."""

import asyncio
from collections import Counter

import pytest

from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import Posting
from tests.sql.ledger_fixtures import Bank, capture, refund, transfer, void


async def _race(bank: Bank, *requests: Posting) -> Counter[Outcome]:
    """Each in a commit of its own, all at once."""
    results = await asyncio.gather(*(bank.post(request) for request in requests))
    return Counter(posted.outcome for (posted,) in results)


@pytest.mark.contract("8.2.3")
async def test_100_captures_of_one_hold_take_no_more_than_it_has(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open()
    hold = await bank.hold(a, b, 50)
    outcomes = await _race(bank, *(capture(b, hold.id, 1, final=False) for _ in range(100)))
    assert outcomes == {"completed": 50, "hold_not_open": 50}
    assert (await bank.balance(a), await bank.held(a), await bank.balance(b)) == (950, 0, 50)


async def test_100_captures_of_one_hold_in_one_commit_batch(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open()
    hold = await bank.hold(a, b, 50)
    outcomes = await bank.outcomes(*(capture(b, hold.id, 1, final=False) for _ in range(100)))
    assert Counter(outcomes) == {"completed": 50, "hold_not_open": 50}
    assert (await bank.balance(a), await bank.held(a), await bank.balance(b)) == (950, 0, 50)


@pytest.mark.contract("9.1.2")
@pytest.mark.parametrize("together", [True, False])
async def test_100_refunds_of_one_payment_never_exceed_it(bank: Bank, *, together: bool) -> None:
    a, b = await bank.open(50), await bank.open(1_000)
    paid = transfer(a, b, 50)
    await bank.post(paid)
    refunds = [refund(b, paid.id, 1) for _ in range(100)]
    if together:
        outcomes = Counter(await bank.outcomes(*refunds))
    else:
        outcomes = await _race(bank, *refunds)
    assert outcomes == {"completed": 50, "amount_too_large": 50}
    assert (await bank.balance(a), await bank.balance(b)) == (50, 1_000)
    row = await bank.transaction(paid)
    assert (row["refunded_amount"], row["status"]) == (50, "reversed")


@pytest.mark.contract("8.2.3")
async def test_one_of_capture_and_void_wins(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open()
    for _ in range(20):
        hold = await bank.hold(a, b, 10)
        outcomes = await _race(bank, capture(b, hold.id), void(b, hold.id))
        assert outcomes == {"completed": 1, "hold_not_open": 1}
        assert await bank.held(a) == 0
    assert await bank.balance(a) + await bank.balance(b) == 1_000


async def test_a_refund_and_a_payment_spend_the_same_money_once(bank: Bank) -> None:
    a, b, c = await bank.open(10), await bank.open(), await bank.open()
    paid = transfer(a, b, 10)
    await bank.post(paid)
    outcomes = await _race(bank, refund(b, paid.id), transfer(b, c, 10))
    assert outcomes == {"completed": 1, "insufficient_funds": 1}
    assert await bank.balance(b) == 0


@pytest.mark.parametrize("who", ["payer", "receiver"])
async def test_a_freeze_in_between_stops_a_capture(bank: Bank, who: str) -> None:
    a, b = await bank.open(10), await bank.open()
    hold = await bank.hold(a, b, 10)
    results = await asyncio.gather(
        bank.outcome(capture(b, hold.id, 4, final=False)),
        bank.freeze(a if who == "payer" else b),
    )
    refused = "sender_unavailable" if who == "payer" else "account_frozen"
    assert results[0] in {"completed", refused}
    assert await bank.outcome(capture(b, hold.id)) == refused
    assert await bank.held(a) == (6 if results[0] == "completed" else 10)
    assert await bank.outcome(void(b, hold.id)) == "completed"
    assert await bank.held(a) == 0
