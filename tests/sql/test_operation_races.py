"""Operations that meet: whatever is first, the books stay exact and each answer is documented."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Final
from uuid import UUID

import pytest

from finpay.ledger import holds
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import Posting
from tests.sql.hold_fixtures import end_holds
from tests.sql.ledger_fixtures import (
    Bank,
    Holder,
    capture,
    operation,
    refund,
    transfer,
    verified_bank,
    void,
)

SLOWEST_S: Final = 20.0  # of one test: no race may end in a queue of locks


@pytest.fixture
async def bank(fresh_database: Callable[[], str]) -> AsyncIterator[Bank]:
    """A database of its own, verified after the test."""
    async with verified_bank(fresh_database(), SLOWEST_S) as bank:
        yield bank


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


@pytest.mark.contract("8.2.3", "8.3.1", "8.3.2")
async def test_one_of_captures_voids_and_expiry_wins(bank: Bank) -> None:
    """The end of the hold's time comes before, among or after two captures and a void."""
    a, b = await bank.open(1_000), await bank.open()
    dice, captured, winners = Random(8), 0, Counter[str]()
    for _ in range(40):
        hold = await bank.hold(a, b, 10)
        requests = [capture(b, hold.id), capture(b, hold.id, 4), void(b, hold.id)]
        dice.shuffle(requests)
        results = await asyncio.gather(
            *(bank.outcome(request) for request in requests[:2]),
            _expire(bank, hold.id),
            bank.outcome(requests[2]),
        )
        outcomes = [result for result in results if result is not None]
        assert set(outcomes) <= {"completed", "hold_not_open"}
        row = await _side(bank, a, hold.id)
        assert row == await _side(bank, b, hold.id)
        assert outcomes.count(Outcome.COMPLETED) == (0 if row[0] == "expired" else 1)
        winners[row[0]] += 1
        captured += row[1]
        assert await bank.held(a) == 0
        assert (await bank.balance(a), await bank.balance(b)) == (1_000 - captured, captured)
    assert sum(winners.values()) == 40
    assert set(winners) <= {"captured", "voided", "expired"}


async def test_two_workers_expire_each_hold_once_while_others_are_captured(bank: Bank) -> None:
    a, b = await bank.open(10_000), await bank.open()
    made = [await bank.hold(a, b, 10) for _ in range(60)]
    due, open_ = made[:30], made[30:]
    await end_holds(bank, *(hold.id for hold in due))
    expired, outcomes = await asyncio.gather(
        asyncio.gather(*(holds.expire(bank.app, lambda: None) for _ in range(3))),
        _race(bank, *(capture(b, hold.id) for hold in [*open_, *due])),
    )
    assert sum(expired) == 60, "each of the 30 has a row on two sides"
    assert outcomes == {"completed": 30, "hold_not_open": 30}
    assert (await bank.balance(a), await bank.held(a), await bank.balance(b)) == (9_700, 0, 300)


async def test_a_freeze_in_between_stops_a_refund(bank: Bank) -> None:
    for who in ("payer", "receiver"):
        a, b = await bank.open(10), await bank.open()
        paid = transfer(a, b, 10)
        await bank.post(paid)
        first, _ = await asyncio.gather(
            bank.outcome(refund(b, paid.id, 4)), bank.freeze(a if who == "payer" else b)
        )
        refused = "receiver_unavailable" if who == "payer" else "account_frozen"
        assert first in {"completed", refused}
        assert await bank.outcome(refund(b, paid.id)) == refused
        assert await bank.balance(a) == (4 if first == "completed" else 0)


async def test_money_on_hold_is_spent_once_by_100_holds_withdrawals_and_transfers(
    bank: Bank,
) -> None:
    a, b = await bank.open(50), await bank.open()
    requests: list[Posting] = [transfer(a, b, 1) for _ in range(34)]
    requests += [
        operation("hold", a, receiver_id=b.account_id, amount=1, expires_in_s=600)
        for _ in range(33)
    ]
    requests += [operation("withdrawal", a, amount=1, metadata='{"iban":"1"}') for _ in range(33)]
    Random(3).shuffle(requests)
    assert await _race(bank, *requests) == {"completed": 50, "insufficient_funds": 50}
    assert await bank.balance(a) == await bank.held(a)
    assert await bank.balance(a) + await bank.balance(b) == 50


async def test_a_withdrawal_is_canceled_once(bank: Bank) -> None:
    a = await bank.open(50)
    request = operation("withdrawal", a, amount=30, metadata='{"iban":"1"}')
    await bank.post(request)
    outcomes = await _race(bank, *(operation("cancel", a, target=request.id) for _ in range(20)))
    assert outcomes == {"completed": 1, "withdrawal_not_pending": 19}
    assert (await bank.balance(a), await bank.held(a)) == (50, 0)


async def _expire(bank: Bank, hold_id: UUID) -> None:
    """Lets its time be over, and expires what is due, as the worker does."""
    await end_holds(bank, hold_id)
    await holds.expire(bank.app, lambda: None)


async def _side(bank: Bank, holder: Holder, hold_id: UUID) -> tuple[str, int]:
    row = await bank.row(
        "SELECT status::text, captured_amount FROM ledger.holds WHERE account_id = $1 AND id = $2",
        holder.account_id,
        hold_id,
    )
    return row["status"], row["captured_amount"]
