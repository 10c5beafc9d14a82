"""What the expiry of holds does: under each account's lock, once, and never to a hold in time."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from finpay.ledger import holds
from finpay.ledger.outcome import Outcome
from finpay.outbox import events
from finpay.outbox.resources import Event
from tests.sql.hold_fixtures import end_holds, hold_many, hold_since_yesterday
from tests.sql.ledger_fixtures import (
    Bank,
    Holder,
    capture,
    item,
    refund,
    transfer,
    transfer_batch,
    void,
)


def _no_wake() -> None:
    """No webhook is waited for here."""


async def expire(bank: Bank) -> int:
    return await holds.expire(bank.app, _no_wake)


@pytest.fixture(autouse=True)
async def nothing_due(bank: Bank) -> None:
    """Other tests leave holds whose time is over."""
    await expire(bank)


@pytest.mark.contract("8.3.2")
async def test_what_is_due_is_released_on_both_sides(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    due, partly, later = [await bank.hold(a, b, amount) for amount in (10, 20, 30)]
    await bank.post(capture(b, partly.id, 5, final=False))
    await end_holds(bank, due.id, partly.id)
    assert await expire(bank) == 4
    assert (await bank.balance(a), await bank.held(a), await bank.held(b)) == (95, 30, 0)
    for holder in (a, b):
        rows = await bank.app.fetch(
            "SELECT id, status::text, captured_amount, closed_at IS NOT NULL AS closed "
            "FROM ledger.holds WHERE account_id = $1 ORDER BY id",
            holder.account_id,
        )
        assert [tuple(row) for row in rows] == [
            (due.id, "expired", 0, True),
            (partly.id, "expired", 5, True),
            (later.id, "open", 0, False),
        ]
        expired = await _events(bank, holder)
        objects = [event["data"]["object"] for event in expired]
        assert [each["captured_amount"] for each in objects] == [0, 5]
        assert [(each["status"], each["remaining"]) for each in objects] == [("expired", 0)] * 2
        assert [event["data"]["previous"] for event in expired] == [
            {"status": "open", "remaining": 10},
            {"status": "open", "remaining": 15},
        ]
        assert [(event["request"], event["actor"]) for event in expired] == [(None, None)] * 2
    assert await expire(bank) == 0


@pytest.mark.contract("7.8.2")
async def test_what_expires_on_its_day_is_given_back_to_the_limit(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    today, yesterday = await bank.hold(a, b, 10), await bank.hold(a, b, 20)
    await hold_since_yesterday(bank, yesterday.id)
    await bank.post(transfer(a, b, 25))
    assert (await bank.account(a))["sent_today"] == 35
    await end_holds(bank, today.id, yesterday.id)
    await expire(bank)
    assert (await bank.account(a))["sent_today"] == 25


async def test_a_hold_that_was_closed_meanwhile_stays_closed(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    voided, captured = await bank.hold(a, b, 10), await bank.hold(a, b, 20)
    await bank.post(void(b, voided.id), capture(b, captured.id, 5))
    await end_holds(bank, voided.id, captured.id)
    assert await expire(bank) == 0
    assert await bank.held(a) == 0


@pytest.mark.contract("8.3.1")
async def test_one_of_capture_void_and_expiry_wins(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open()
    ends: set[str] = set()
    for _ in range(40):
        request = await bank.hold(a, b, 10)
        results = await asyncio.gather(
            bank.outcome(capture(b, request.id)),
            bank.outcome(void(b, request.id)),
            _end(bank, request.id),
            expire(bank),
        )
        await expire(bank)
        (row,) = await bank.app.fetch(
            "SELECT DISTINCT status::text, captured_amount FROM ledger.holds WHERE id = $1",
            request.id,
        )
        assert await bank.held(a) == 0
        done = results[:2]
        assert done.count(Outcome.COMPLETED) == (row["status"] != "expired"), (done, row)
        assert row["captured_amount"] == (10 if row["status"] == "captured" else 0)
        ends.add(row["status"])
    assert len(ends) > 1, f"always {ends}"
    assert await bank.balance(a) + await bank.balance(b) == 1_000


async def test_two_workers_expire_each_hold_once(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open()
    made = [await bank.hold(a, b, 1) for _ in range(60)]
    await end_holds(bank, *(request.id for request in made))
    numbers = await asyncio.gather(*(expire(bank) for _ in range(3)))
    assert sum(numbers) == 120
    assert await bank.held(a) == 0
    assert len(await _events(bank, a)) == 60


async def test_expiry_waits_for_the_lock_of_the_account(bank: Bank) -> None:
    """So that two workers number their events one after the other."""
    a, b = await bank.open(100), await bank.open()
    first, second = await bank.hold(a, b, 10), await bank.hold(a, b, 10)
    await end_holds(bank, first.id, second.id)
    async with bank.app.transaction() as transaction:
        await transaction.execute("SELECT ledger.expire_holds($1, $2)", [a.account_id], [first.id])
        waiting = asyncio.create_task(expire(bank))
        await bank.until_a_statement_waits()
    assert await waiting == 3
    assert await bank.held(a) == 0
    assert len(await _events(bank, a)) == len(await _events(bank, b)) == 2


async def test_money_of_expired_holds_is_spent_while_they_expire(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    made = [await bank.hold(a, b, 1) for _ in range(100)]
    await end_holds(bank, *(request.id for request in made))
    outcomes, _ = await asyncio.gather(
        bank.outcomes(*(transfer(a, b, 1) for _ in range(100))), expire(bank)
    )
    assert set(outcomes) == {Outcome.COMPLETED}
    await expire(bank)
    assert (await bank.balance(a), await bank.held(a)) == (0, 0)


@pytest.mark.contract("8.3.2")
async def test_payments_that_need_an_expired_hold_together_spend_it(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open(100)
    await end_holds(bank, (await bank.hold(a, b, 50)).id)
    payments = transfer(a, b, 40), transfer(a, b, 40)
    assert set(await bank.outcomes(*payments)) == {Outcome.COMPLETED}
    assert (await bank.balance(a), await bank.held(a)) == (20, 0)

    await end_holds(bank, (await bank.hold(b, a, 100)).id)
    items = transfer_batch(b, item(a, 60), item(a, 60), mode="atomic")
    assert await bank.outcome(items) == Outcome.COMPLETED
    assert (await bank.balance(b), await bank.held(b)) == (60, 0)

    await end_holds(bank, (await bank.hold(b, a, 50)).id)
    assert await bank.outcome(refund(b, payments[0].id)) == Outcome.COMPLETED
    assert (await bank.balance(b), await bank.held(b)) == (20, 0)


async def _end(bank: Bank, hold_id: UUID) -> int:
    await end_holds(bank, hold_id)
    return 0


async def _events(bank: Bank, holder: Holder) -> list[Any]:
    """The events of expired holds, oldest first, as their owner reads them."""
    return [json.loads(events.encode_event(event)) for event in await _listed(bank, holder)]


async def _listed(bank: Bank, holder: Holder) -> list[Event]:
    filters = events.Filters(types=["hold.expired"])
    found = await events.list_after(bank.app, holder.account_id, filters, after=0, limit=1_000)
    return [*found.events]


async def test_an_account_with_many_rows_is_locked_alone_and_for_few_of_them(
    fresh_database: Callable[[], str],
) -> None:
    """Its payments wait for a commit of 64 rows at most; rows of others share commits."""
    bank = Bank(fresh_database())
    receiver = await bank.open()
    await hold_many(bank, receiver, senders=3, of_each=100)
    assert await expire(bank) == 600
    commits = await bank.app.fetch(
        "SELECT count(*) AS rows, count(*) FILTER (WHERE account_id = $1) AS own "
        "FROM ledger.holds WHERE status = 'expired' GROUP BY closed_at",
        receiver.account_id,
    )
    assert sorted(row["rows"] for row in commits if row["own"]) == [44, 64, 64, 64, 64]
    assert all(row["own"] in {0, row["rows"]} for row in commits)
    assert sorted(row["rows"] for row in commits if not row["own"]) == [44, 128, 128]
    await bank.close()


async def test_rows_expire_once_and_in_time_whatever_is_asked(bank: Bank) -> None:
    """The function's caller names rows, and is not trusted with more than that."""
    a, b = await bank.open(100), await bank.open()
    due, last, in_time, voided = [await bank.hold(a, b, 10) for _ in range(4)]
    await bank.post(void(b, voided.id))
    await end_holds(bank, due.id, last.id, voided.id)
    asked = [due.id, due.id, last.id, in_time.id, voided.id, a.account_id]
    for expired in (2, 0):
        row = await bank.row(
            "SELECT expired FROM ledger.expire_holds($1, $2)", [a.account_id] * len(asked), asked
        )
        assert row["expired"] == expired
    assert await bank.held(a) == 10
    assert [event.sequence for event in await _listed(bank, a)][-1] == (await bank.account(a))[
        "sequence"
    ]


@pytest.mark.parametrize("lengths", [(1, 2), (0, 0), (1_001, 1_001), (None, 1)])
async def test_rows_are_named_by_two_lists(bank: Bank, lengths: tuple[int | None, int]) -> None:
    lists = [None if length is None else [UUID(int=1)] * length for length in lengths]
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await bank.app.fetch("SELECT ledger.expire_holds($1, $2)", *lists)
