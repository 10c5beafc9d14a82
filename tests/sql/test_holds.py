"""What a hold, its captures and its void change, and the limits that they count in."""

import json
from datetime import timedelta

import pytest

from finpay.ledger.holds import expire
from finpay.outbox import events
from finpay.outbox.resources import Event
from tests.sql.hold_fixtures import end_holds, hold_since_yesterday
from tests.sql.ledger_fixtures import (
    Bank,
    Holder,
    capture,
    hold,
    item,
    operation,
    refund,
    transfer,
    transfer_batch,
    void,
)


@pytest.mark.contract("8.1.2")
async def test_a_hold_reserves_and_moves_nothing(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    before = await bank.account(a)
    request = await bank.hold(a, b, 60)
    after = await bank.account(a)
    assert (after["balance"], after["held"], after["version"]) == (100, 60, before["version"])
    assert await bank.outcome(transfer(a, b, 41)) == "insufficient_funds"
    assert await bank.outcome(hold(a, b, 41)) == "insufficient_funds"
    assert await bank.outcome(transfer(a, b, 40)) == "completed"
    rows = await bank.app.fetch("SELECT * FROM ledger.holds WHERE id = $1", request.id)
    assert {row["account_id"] for row in rows} == {a.account_id, b.account_id}
    assert {row["expires_at"] - row["created_at"] for row in rows} == {timedelta(seconds=600)}


@pytest.mark.contract("8.2.2")
async def test_a_final_capture_releases_the_rest(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    request = await bank.hold(a, b, 60, description="Booking", metadata='{"booking":"7"}')
    taken = capture(b, request.id, 25)
    (posted,) = await bank.post(taken)
    assert (await bank.balance(a), await bank.held(a), await bank.balance(b)) == (75, 0, 25)
    moved = await bank.transaction(taken)
    assert (moved["type"], moved["origin_type"], moved["origin_id"]) == (
        "transfer", "hold", request.id,
    )  # fmt: skip
    assert (moved["sender_id"], moved["description"], moved["metadata"]) == (
        a.account_id, "Booking", '{"booking":"7"}',
    )  # fmt: skip
    answer = json.loads(posted.answer)
    assert (answer["other"], answer["balance_after"], answer["amount"]) == (a.public_id, "25", 25)
    assert await bank.outcome(capture(b, request.id, 1)) == "hold_not_open"


@pytest.mark.contract("8.2.2")
async def test_a_capture_that_is_not_final_leaves_it_open(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    request = await bank.hold(a, b, 60)
    for held in (35, 10):
        assert await bank.outcome(capture(b, request.id, 25, final=False)) == "completed"
        assert await bank.held(a) == held
    (refused,) = await bank.post(capture(b, request.id, 11))
    assert (refused.outcome, json.loads(refused.answer)["left"]) == ("amount_too_large", 10)
    assert await bank.outcome(capture(b, request.id)) == "completed"
    assert (await bank.balance(b), await bank.held(a)) == (60, 0)


@pytest.mark.contract("8.2.2")
async def test_a_capture_of_all_closes_it_even_if_it_is_not_final(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    request = await bank.hold(a, b, 60)
    assert await bank.outcome(capture(b, request.id, final=False)) == "completed"
    row = await bank.row("SELECT status FROM ledger.holds WHERE account_id = $1", b.account_id)
    assert row["status"] == "captured"


@pytest.mark.contract("8.2.4")
async def test_a_void_releases_what_is_left(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    request = await bank.hold(a, b, 60)
    await bank.post(capture(b, request.id, 20, final=False))
    await bank.freeze(b)
    (posted,) = await bank.post(void(b, request.id))
    assert posted.http_status == 200
    assert (await bank.balance(a), await bank.held(a)) == (80, 0)
    answer = json.loads(posted.answer)
    assert (answer["amount"], answer["taken"]) == (60, "20")
    (refused,) = await bank.post(capture(b, request.id))
    assert refused.outcome == "account_frozen"


@pytest.mark.contract("8.2.4")
async def test_a_void_shows_what_was_captured_in_the_same_commit_batch(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    request = await bank.hold(a, b, 60)
    _, posted = await bank.post(capture(b, request.id, 20, final=False), void(b, request.id))
    assert json.loads(posted.answer)["taken"] == "20"
    assert await bank.held(a) == 0


@pytest.mark.contract("7.2.1")
async def test_the_available_balance_of_each_answer_is_that_of_its_moment(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    posted = await bank.post(transfer(a, b, 10), hold(a, b, 30), transfer(a, b, 10))
    answers = [json.loads(each.answer) for each in posted]
    assert [answer["available_after"] for answer in (answers[0], answers[2])] == [90, 50]


@pytest.mark.contract("6.1.5")
async def test_both_parties_get_the_events_in_order(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    request = await bank.hold(a, b, 60)
    await bank.post(capture(b, request.id, 20, final=False), void(b, request.id))
    types = ["hold.created", "transaction.completed", "hold.captured", "hold.voided"]
    for holder in (a, b):
        listed = (await _events(bank, holder))[-4:]
        assert [event.type for event in listed] == types
        made, _, captured, voided = (event.data for event in listed)
        assert (made.object.status, made.object.remaining, made.previous) == ("open", 60, {})
        assert (captured.object.captured_amount, captured.object.remaining) == (20, 40)
        assert captured.previous == {"captured_amount": 0, "remaining": 60}
        assert (voided.object.status, voided.object.remaining) == ("voided", 0)
        assert voided.previous == {"status": "open", "remaining": 40}
        assert {event.data.object.direction for event in listed} == {
            "sent" if holder is a else "received"
        }
    sender, receiver = await _events(bank, a), await _events(bank, b)
    assert [event.actor is None for event in sender[-4:]] == [False, True, True, True]
    assert [event.actor is None for event in receiver[-4:]] == [True, False, False, False]


@pytest.mark.contract("6.1.5")
async def test_a_refund_has_events_of_both_transactions(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    paid = transfer(a, b, 50)
    await bank.post(paid)
    await bank.post(refund(b, paid.id, 20), refund(b, paid.id))
    for holder in (a, b):
        listed = (await _events(bank, holder))[-5:]
        assert [event.type for event in listed] == [
            "transaction.completed", "transaction.completed", "transaction.refunded",
            "transaction.completed", "transaction.refunded",
        ]  # fmt: skip
        first, _, part, _, rest = (event.data for event in listed)
        assert (first.object.status, first.object.refunded_amount) == ("completed", 0)
        assert (part.object.status, part.object.refunded_amount) == ("completed", 20)
        assert part.previous == {"status": "completed", "refunded_amount": 0}
        assert (rest.object.status, rest.object.refunded_amount) == ("reversed", 50)
        assert rest.previous == {"status": "completed", "refunded_amount": 20}
        assert part.object.balance_after == first.object.balance_after


@pytest.mark.contract("7.8.2")
async def test_payments_holds_and_withdrawals_count_in_the_daily_limit(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open()
    await bank.limit(a, single=50, daily=100)
    assert await bank.outcome(transfer(a, b, 51)) == "limit_exceeded"
    assert await bank.outcome(transfer(a, b, 40)) == "completed"
    held = await bank.hold(a, b, 30)
    assert await bank.outcome(operation("withdrawal", a, amount=31)) == "limit_exceeded"
    withdrawal = operation("withdrawal", a, amount=30)
    assert await bank.outcome(withdrawal) == "completed"
    assert await _sent_today(bank, a) == 100
    (refused,) = await bank.post(transfer(a, b, 1))
    limits = json.loads(refused.answer)["limits"]
    assert (limits["single"], limits["daily"], limits["sent_today"]) == (50, 100, 100)
    # A capture was counted as its hold, and only what is released is given back.
    await bank.post(capture(b, held.id, 20), operation("cancel", a, target=withdrawal.id))
    assert await _sent_today(bank, a) == 60


@pytest.mark.contract("7.8.2")
async def test_items_of_a_batch_count_one_by_one_and_refunds_nowhere(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open(100)
    await bank.limit(a, daily=100)
    (posted,) = await bank.post(transfer_batch(a, item(b, 60), item(b, 50), item(b, 40)))
    assert posted.items == ["completed", "limit_exceeded", "completed"]
    (atomic,) = await bank.post(transfer_batch(b, item(a, 1), item(a, 1_000), mode="atomic"))
    assert atomic.outcome == "insufficient_funds"
    assert await _sent_today(bank, b) == 0
    given = transfer(b, a, 10)
    await bank.post(given)
    assert await bank.outcome(refund(a, given.id)) == "completed"
    assert await _sent_today(bank, a) == 100


@pytest.mark.contract("7.8.2")
async def test_what_was_held_on_another_day_is_not_given_back(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open()
    old = await bank.hold(a, b, 30)
    await hold_since_yesterday(bank, old.id)
    await bank.post(transfer(a, b, 5))
    await bank.post(void(b, old.id))
    assert await _sent_today(bank, a) == 5


@pytest.mark.contract("8.3.3")
async def test_a_hold_expires_for_a_sender_who_is_short_of_money(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    request = await bank.hold(a, b, 90)
    await end_holds(bank, request.id)
    assert await bank.outcome(transfer(a, b, 5)) == "completed"
    assert await bank.held(a) == 90, "nothing is released before it is needed"
    assert await bank.outcome(capture(b, request.id)) == "hold_not_open"
    assert await bank.outcome(transfer(a, b, 95)) == "completed"
    assert await bank.held(a) == 0
    assert (await _events(bank, a))[-2].type == "hold.expired"
    assert [event.type for event in await _events(bank, b)].count("hold.expired") == 0
    await expire(bank.app, lambda: None)
    assert [event.type for event in await _events(bank, b)].count("hold.expired") == 1
    assert [event.type for event in await _events(bank, a)].count("hold.expired") == 1


@pytest.mark.contract("8.3.3")
async def test_a_refund_of_all_that_is_left_takes_money_of_expired_holds(bank: Bank) -> None:
    a, b, c = await bank.open(100), await bank.open(), await bank.open()
    paid = transfer(a, b, 100)
    await bank.post(paid)
    await end_holds(bank, (await bank.hold(b, c, 90)).id)
    assert await bank.outcome(refund(b, paid.id)) == "completed"
    assert (await bank.balance(a), await bank.held(b)) == (100, 0)


async def _sent_today(bank: Bank, holder: Holder) -> int:
    sent: int = (await bank.account(holder))["sent_today"]
    return sent


async def _events(bank: Bank, holder: Holder) -> list[Event]:
    """Oldest first."""
    found = await events.list_after(
        bank.app, holder.account_id, events.Filters(), after=0, limit=100
    )
    return [*found.events]
