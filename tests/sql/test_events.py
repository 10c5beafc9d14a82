"""Events: owners, content, and that none appears below a sequence that was read."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

import msgspec
import pytest

from finpay import ids
from finpay.db.pool import Database, Transaction
from finpay.formats import format_timestamp
from finpay.ledger import administration
from finpay.ledger.posting import Transfer, post
from finpay.outbox import event_ids, events
from finpay.outbox.events import Filters
from finpay.outbox.resources import Event
from tests.sql.ledger_fixtures import REFUSALS, Bank, Holder, fresh_key, transfer

EVERYTHING: Final = Filters()
WRITERS: Final = 6
ROUNDS: Final = 15
RECORD: Final = "SELECT outbox.record($1, 'session.revoked', '{\"id\":\"ses_x\"}', $1, 'req')"


@pytest.fixture
async def bank(fresh_database: Callable[[], str]) -> AsyncIterator[Bank]:
    """In a database of its own: some tests here move events in time, which others would find."""
    made = Bank(fresh_database())
    yield made
    await made.close()


@pytest.mark.contract("2.1.3", "6.1.2")
async def test_each_side_has_an_event_of_its_own(bank: Bank) -> None:
    a, b = await bank.open(7_000_122), await bank.open(9_000_456)
    await bank.fund(a, 1)  # so that the two entries have different versions
    item = transfer(a, b, 1, description="Lunch", metadata='{"table":"4"}')
    await bank.post(item)
    sent, received = await latest_event(bank, a), await latest_event(bank, b)
    assert sent["data"]["object"]["balance_after"] == 7_000_122
    assert received["data"]["object"]["balance_after"] == 9_000_457
    assert (sent["data"]["object"]["direction"], received["data"]["object"]["direction"]) == (
        "sent",
        "received",
    )
    own = {"direction": None, "balance_after": None, "available_after": None}
    assert sent["data"]["object"] | own == received["data"]["object"] | own
    assert sent["request"] == {"id": "req_test", "idempotency_key": item.key}
    assert sent["actor"] == ids.encode("usr", a.user_id)
    assert (received["request"], received["actor"]) == (None, None)
    assert "7000122" not in str(received)
    assert item.key not in str(received)
    assert sent["id"] != received["id"]
    assert sent["created_at"] == received["created_at"] == sent["data"]["object"]["created_at"]


async def test_a_failed_one_is_the_senders_alone(bank: Bank) -> None:
    a, b = await bank.open(5), await bank.open()
    await bank.post(transfer(a, b, 6))
    event = await latest_event(bank, a)
    assert event["type"] == "transaction.failed"
    subject = event["data"]["object"]
    assert (subject["status"], subject["failure_code"]) == ("failed", "insufficient_funds")
    assert (subject["balance_after"], subject["amount"]) == (5, 6)
    assert event["data"]["previous"] == {}
    assert await page(bank, b) == []


async def test_a_later_status_changes_no_event(bank: Bank) -> None:
    """The event says what it said, also when the transaction has moved on."""
    a, b = await bank.open(5), await bank.open()
    item = transfer(a, b, 5)
    await bank.post(item)
    before = [await latest_event(bank, holder) for holder in (a, b)]
    await bank.owner.execute(
        "UPDATE ledger.transactions SET status = 'reversed' WHERE id = $1", item.id
    )
    await bank.freeze(a)
    assert [(await page(bank, holder))[at] for holder, at in ((a, 1), (b, 0))] == before


async def test_a_status_change_has_the_whole_account(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    await bank.post(transfer(a, b, 1))
    await bank.hold(a, b, 9)
    await bank.freeze(a)
    event = await latest_event(bank, a)
    assert event["type"] == "account.updated"
    account = await bank.account(a)
    assert event["data"] == {
        "object": {
            "id": a.public_id, "object": "account", "balance": 99, "available": 90, "held": 9,
            "currency": "ZAR", "status": "frozen", "version": 2,
            "created_at": account["created_at"].isoformat().replace("+00:00", "Z"),
            "limits": event["data"]["object"]["limits"],
        },
        "previous": {"status": "active"},
    }  # fmt: skip
    assert (event["request"], event["actor"]) == (None, None)
    await bank.post(transfer(b, b, 1), transfer(b, a, 1))
    assert (await latest_event(bank, a)) == event, "a refusal changes no account"


async def test_an_event_is_found_by_its_id_and_by_its_sequence(bank: Bank) -> None:
    a, b = await bank.open(50), await bank.open()
    await bank.post(*(transfer(a, b, amount) for amount in (1, 2, 1_000, 3)))
    await bank.freeze(b)
    every = [(holder, event) for holder in (a, b) for event in await read(bank, holder)]
    assert len(every) == 5 + 4
    keys = [(holder.account_id, event.sequence) for holder, event in every]
    by_keys = await events.by_keys(bank.app, [*keys, (a.account_id, 99), (b.user_id, 1)])
    assert by_keys == dict(zip(keys, (event for _, event in every), strict=True))
    for holder, event in every:
        event_id = ids.decode("evt", event.id)
        assert await events.get(bank.app, holder.account_id, event_id) == event
        for other in (a, b):
            if other != holder:
                assert await events.get(bank.app, other.account_id, event_id) is None
    beyond = event_ids.derive(a.account_id, 99)
    assert await events.get(bank.app, a.account_id, beyond) is None


async def test_no_keys_find_no_events(bank: Bank) -> None:
    assert await events.by_keys(bank.app, []) == {}


async def test_a_transaction_that_is_rolled_back_has_no_events(bank: Bank) -> None:
    a, b = await bank.open(50), await bank.open()
    before = await page(bank, a)
    for _ in range(20):
        with suppress(RollBackError):
            async with bank.app.transaction() as transaction:
                await post_in(transaction, transfer(a, b, 1))
                await transaction.execute(RECORD, b.user_id)
                raise RollBackError
    assert await page(bank, a) == before
    assert await page(bank, b) == []
    await bank.post(transfer(a, b, 1))
    assert [event["sequence"] for event in await page(bank, a)] == [1, 2], "and took no number"


@pytest.mark.contract("6.1.3")
async def test_nothing_appears_behind_a_number_that_was_read(bank: Bank) -> None:
    """The first of two transactions commits late: the second waits, and so does its number."""
    a, b, c = await bank.open(50), await bank.open(50), await bank.open()
    async with bank.app.transaction() as late:
        await post_in(late, transfer(a, c, 1))
        soon = asyncio.create_task(bank.post(transfer(b, c, 2)))
        await bank.until_a_statement_waits()
        assert await page(bank, c) == []
    await soon
    amounts = [event["data"]["object"]["amount"] for event in await page(bank, c)]
    assert amounts == [1, 2]


async def test_a_poller_during_many_writes_reads_every_event_once_in_order(bank: Bank) -> None:
    """Some of them commit late, some roll back; one freezes and one ends sessions."""
    hot = await bank.open()
    senders = [await bank.open(1_000) for _ in range(WRITERS)]
    done = asyncio.Event()
    polling = asyncio.create_task(_poll(bank, hot, done))
    await asyncio.gather(
        *(_write(bank, sender, hot, random.Random(n)) for n, sender in enumerate(senders)),
        _change_status(bank, hot),
    )
    done.set()
    read_live = await polling
    assert read_live == await read(bank, hot, limit=10_000)
    assert [event.sequence for event in read_live] == list(range(1, len(read_live) + 1))
    assert len(read_live) > WRITERS * ROUNDS // 2


async def test_times_narrow_a_page_as_comparing_each_event_does(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open()
    for _ in range(12):
        await bank.post(*(transfer(a, b, 1) for _ in range(3)))
    await _spread_over_hours(bank, a)
    every = await read(bank, a)
    moments = sorted({event.created_at for event in every})
    chance = random.Random(5)
    for _ in range(60):
        start, end = (
            chance.choice([None, *(_moved(moment, chance) for moment in moments)]) for _ in "12"
        )
        filters = Filters(created_from=start, created_to=end)
        expected = [
            event
            for event in every
            if (start is None or event.created_at >= format_timestamp(start))
            and (end is None or event.created_at < format_timestamp(end))
        ]
        assert await read(bank, a, filters) == expected
        newest = await events.list_before(bank.app, a.account_id, filters, before=None, limit=100)
        assert newest.events == expected[::-1]


@pytest.mark.parametrize("kept", [set(), {2}, {1, 4}])
async def test_what_retention_left_is_read_whatever_it_removed(bank: Bank, kept: set[int]) -> None:
    a, b = await bank.open(1_000), await bank.open()
    for _ in range(8):
        await bank.post(transfer(a, b, 1))
    await _spread_over_hours(bank, a)
    every = await read(bank, a)
    await bank.owner.execute(
        "WITH raised AS (INSERT INTO outbox.retention_watermarks VALUES ($1, 5)) "
        "DELETE FROM outbox.events WHERE account_id = $1 AND sequence <= 5 "
        "AND sequence <> ALL ($2::bigint[])",
        a.account_id,
        list(kept),
    )
    left = [event for event in every if event.sequence > 5 or event.sequence in kept]
    assert await read(bank, a) == left
    for event in every:
        since = Filters(created_from=_moment(event.created_at))
        until = Filters(created_to=_moment(event.created_at))
        assert await read(bank, a, since) == [e for e in left if e.created_at >= event.created_at]
        assert await read(bank, a, until) == [e for e in left if e.created_at < event.created_at]
        found = await events.get(bank.app, a.account_id, ids.decode("evt", event.id))
        assert found == (event if event in left else None)


class RollBackError(Exception):
    """Ends a transaction without a commit."""


async def page(bank: Bank, holder: Holder) -> list[Any]:
    """All events of an account as they go out, oldest first."""
    return [msgspec.json.decode(events.encode_event(event)) for event in await read(bank, holder)]


async def latest_event(bank: Bank, holder: Holder) -> Any:
    """The account's newest event as it goes out."""
    return (await page(bank, holder))[-1]


async def read(
    bank: Bank, holder: Holder, filters: Filters = EVERYTHING, *, after: int = 0, limit: int = 100
) -> list[Event]:
    found = await events.list_after(bank.app, holder.account_id, filters, after=after, limit=limit)
    return [*found.events]


async def post_in(transaction: Transaction, item: Transfer) -> None:
    """Posts one transfer in a transaction of the caller, which may end in any way."""
    await post(cast("Database", transaction), [item], REFUSALS)


async def _poll(bank: Bank, holder: Holder, done: asyncio.Event) -> list[Event]:
    """What a client reads that never asks twice for a number, until all is done."""
    seen: list[Event] = []
    while True:  # ends with the first empty page after the last commit
        last = seen[-1].sequence if seen else 0
        finished = done.is_set()
        found = await read(bank, holder, after=last, limit=7)
        seen += found
        if finished and not found:
            return seen


async def _write(bank: Bank, sender: Holder, receiver: Holder, chance: random.Random) -> None:
    for _ in range(ROUNDS):
        with suppress(RollBackError):
            async with bank.app.transaction() as transaction:
                await post_in(transaction, transfer(sender, receiver, chance.randint(1, 30)))
                if chance.random() < 0.3:
                    await transaction.execute(RECORD, receiver.user_id)
                await asyncio.sleep(chance.choice([0, 0, 0.01]))  # commits late
                if chance.random() < 0.3:
                    raise RollBackError


async def _change_status(bank: Bank, holder: Holder) -> None:
    statuses: tuple[Literal["frozen", "active"], ...] = ("frozen", "active")
    for status in statuses * 4:
        key = fresh_key()
        await administration.set_status(bank.owner, holder.public_id, status, "a test", key)


async def _spread_over_hours(bank: Bank, holder: Holder) -> None:
    """Twenty seconds from event to event, by a clock that jumps about by as much."""
    await bank.owner.execute(
        "UPDATE outbox.events SET created_at = '2026-01-01 00:00:00Z'::timestamptz "
        "+ make_interval(secs => 20 * sequence + 20 * (hashint8(sequence) % 2)) "
        "WHERE account_id = $1",
        holder.account_id,
    )


def _moved(text: str, chance: random.Random) -> datetime:
    """About that moment, often exactly."""
    return _moment(text) + timedelta(seconds=chance.choice([0, 0, 0, -1, 1, -90, 90]))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
