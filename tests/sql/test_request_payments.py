"""Payments of requests in the commit batch of transfers, and what races with them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any
from uuid import UUID

import pytest

from finpay import ids
from finpay.ledger import payment_requests
from finpay.ledger.posting import Posting, post
from tests.sql.ledger_fixtures import REFUSALS, Bank, Holder, hold, payment, transfer, verified_bank
from tests.sql.schedule_fixtures import ask, end_requests, event_types, origin

SLOWEST_S = 30.0  # of one test: no race may end in a queue of locks
PUBLIC_URL = "https://pay.example"


@pytest.fixture
async def bank(fresh_database: Callable[[], str]) -> AsyncIterator[Bank]:
    """A database of its own, verified after the test."""
    async with verified_bank(fresh_database(), SLOWEST_S) as bank:
        yield bank


async def race(bank: Bank, *requests: Posting) -> Counter[str]:
    """Each in a commit of its own, all at once."""
    results = await asyncio.gather(*(bank.outcome(request) for request in requests))
    return Counter(map(str, results))


async def balances(bank: Bank, *holders: Holder) -> list[int]:
    return [await bank.balance(holder) for holder in holders]


async def statuses(bank: Bank, request: UUID) -> set[str]:
    """Of both sides."""
    rows = await bank.app.fetch(
        "SELECT status::text FROM ledger.payment_requests WHERE id = $1", request
    )
    return {row["status"] for row in rows}


@pytest.mark.contract("11.1.7")
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("named", [True, False])
async def test_100_payments_of_one_request_pay_it_once(
    bank: Bank, *, together: bool, named: bool
) -> None:
    """Of one payer, or of four who have the id of a request without a payer."""
    alice = await bank.open()
    payers = [await bank.open(1_000) for _ in range(1 if named else 4)]
    request = await ask(bank, alice, payers[0] if named else None)
    payments = [payment(payers[n % len(payers)], request) for n in range(100)]
    if together:
        outcomes = Counter(map(str, await bank.outcomes(*payments)))
    else:
        outcomes = await race(bank, *payments)
    assert outcomes == {"completed": 1, "request_not_open": 99}
    assert await bank.balance(alice) == 10
    assert sum(await balances(bank, *payers)) == 1_000 * len(payers) - 10
    assert await statuses(bank, request) == {"paid"}


async def test_a_batch_decides_in_the_order_of_its_requests(bank: Bank) -> None:
    """Each on the money and the requests that those before it left."""
    alice, bob, carol = await bank.open(), await bank.open(10), await bank.open(1_000)
    first, second = await ask(bank, alice, bob), await ask(bank, alice, bob)
    open_to_all = await ask(bank, bob, None, amount=20)
    outcomes = await bank.outcomes(
        payment(bob, first),
        payment(bob, second),
        payment(carol, open_to_all),
        payment(bob, open_to_all),
        payment(bob, second),
        payment(carol, open_to_all),
        transfer(bob, alice, 11),
        payment(carol, second),
    )
    assert outcomes == [
        "completed", "insufficient_funds", "completed", "forbidden", "completed",
        "request_not_open", "insufficient_funds", "not_found",
    ]  # fmt: skip
    assert await balances(bank, alice, bob, carol) == [20, 10, 980]


@pytest.mark.contract("11.1.4")
async def test_a_refusal_has_its_own_body_and_audit_row(bank: Bank) -> None:
    alice, bob, carol = await bank.open(), await bank.open(10), await bank.open(10)
    named, canceled = await ask(bank, alice, bob), await ask(bank, alice, bob)
    await payment_requests.end(bank.app, origin(alice), canceled, "canceled", None)
    posted = await bank.post(
        payment(carol, named), payment(alice, named), payment(bob, canceled), payment(bob, named)
    )
    assert [json.loads(each.answer) for each in posted[:3]] == [
        {"payment": "not_found", "request_id": "req_test"},
        {"payment": "forbidden", "request_id": "req_test"},
        {"payment": "request_not_open", "request_id": "req_test", "status_now": "canceled"},
    ]
    rows = await bank.app.fetch(
        "SELECT action, actor_id, subject_id, detail::text FROM audit.log "
        "WHERE action ~ 'refused|paid|completed' AND request_id = 'req_test' ORDER BY id"
    )
    moved = posted[3].transaction_id
    assert [tuple(row) for row in rows] == [
        *(
            ("payment_request.refused", user.user_id, None, f'{{"code" : "{code}"}}')
            for user, code in (
                (carol, "not_found"), (alice, "forbidden"), (bob, "request_not_open"),
            )
        ),
        ("transaction.completed", bob.user_id, moved, None),
        ("payment_request.paid", bob.user_id, named, None),
    ]  # fmt: skip


@pytest.mark.contract("11.1.9")
@pytest.mark.parametrize("named", [True, False])
async def test_the_events_show_each_side_as_it_is_then(bank: Bank, *, named: bool) -> None:
    alice, bob = await bank.open(), await bank.open(100)
    texts: dict[str, Any] = {"description": 'Rent "100 %"\n', "metadata": '{"flat": "4 %s"}'}
    request = await ask(bank, alice, bob if named else None, **texts)
    paying = payment(bob, request)
    (posted,) = await post(bank.app, [paying], REFUSALS, public_url=PUBLIC_URL)
    transaction = await bank.transaction(paying)
    origin_ = (str(transaction["origin_type"]), transaction["origin_id"])
    assert origin_ == ("payment_request", request)
    stored = (transaction["description"], transaction["metadata"])
    assert stored == (texts["description"], texts["metadata"])
    assert json.loads(posted.answer)["metadata"] == [{"flat": "4 %s"}]
    assert posted.receivers == {alice.user_id: (await bank.account(alice))["sequence"]}
    assert posted.sender_sequence == (await bank.account(bob))["sequence"]
    for holder, direction, actor in ((alice, "sent", None), (bob, "received", bob.user_id)):
        completed, paid = await _last_events(bank, holder)
        assert (completed["type"], paid["type"]) == (
            "transaction.completed", "payment_request.paid",
        )  # fmt: skip
        data = json.loads(paid["data"])
        assert data["direction"] == direction
        assert data["status"] == "paid"
        assert data["url"] == f"{PUBLIC_URL}/pay/{ids.encode('prq', request)}"
        assert data["transaction_id"] == ids.encode("txn", paying.id)
        assert paid["previous"] == '{"status":"open","transaction_id":null}'
        assert (paid["actor_id"], paid["transaction_id"]) == (actor, None)
        assert paid["idempotency_key"] == (paying.key if actor else None)
        assert paid["created_at"] == completed["created_at"] == transaction["created_at"]


@pytest.mark.contract("11.1.3")
async def test_a_payer_who_registers_later_pays_and_has_a_side_then(bank: Bank) -> None:
    alice = await bank.open()
    late = Holder(ids.new_uuid(), ids.new_uuid(), f"{ids.new_uuid()}@example.com")
    request = await ask(bank, alice, late)
    await bank.app.execute(
        "INSERT INTO identity.users (id, email, password_hash) VALUES ($1, $2, 'none')",
        late.user_id,
        late.email,
    )
    await bank.app.execute(
        "SELECT ledger.open_account($1, $2, 'ZAR')", late.account_id, late.user_id
    )
    assert await bank.outcome(payment(late, request)) == "insufficient_funds"
    await bank.fund(late, 10)
    assert await bank.outcome(payment(late, request)) == "completed"
    rows = await bank.app.fetch(
        "SELECT account_id, payer_id, status::text FROM ledger.payment_requests WHERE id = $1",
        request,
    )
    assert {tuple(row) for row in rows} == {
        (holder.account_id, late.account_id, "paid") for holder in (alice, late)
    }


@pytest.mark.contract("11.1.4")
async def test_payments_of_requests_count_in_the_limits(bank: Bank) -> None:
    alice, bob = await bank.open(), await bank.open(100)
    await bank.limit(bob, daily=25)
    payments = [payment(bob, await ask(bank, alice, bob)) for _ in range(3)]
    assert await bank.outcomes(*payments) == ["completed", "completed", "limit_exceeded"]
    assert await bank.outcomes(transfer(bob, alice, 5), transfer(bob, alice, 1)) == [
        "completed", "limit_exceeded",
    ]  # fmt: skip


async def test_money_on_hold_does_not_pay_a_request(bank: Bank) -> None:
    alice, bob = await bank.open(), await bank.open(19)
    request = await ask(bank, alice, bob)
    outcomes = await bank.outcomes(hold(bob, alice, 10, expires_in_s=600), payment(bob, request))
    assert outcomes == ["completed", "insufficient_funds"]
    assert await statuses(bank, request) == {"open"}


@pytest.mark.contract("11.1.7")
async def test_one_of_payment_cancellation_decline_and_expiry_wins(bank: Bank) -> None:
    """Each payment shares its commit with one of another request."""
    alice, bob = await bank.open(100), await bank.open(1_000)
    dice, paid = Random(11), 0
    for _ in range(30):
        raced, other = await ask(bank, alice, bob), await ask(bank, bob, alice, amount=1)
        endings: list[Any] = [
            bank.post(payment(bob, raced), payment(alice, other)),
            payment_requests.end(bank.app, origin(alice), raced, "canceled", None),
            payment_requests.end(bank.app, origin(bob), raced, "declined", None),
        ]
        if dice.random() < 0.3:
            endings.append(_expire(bank, raced))
        dice.shuffle(endings)
        await asyncio.gather(*endings)
        await payment_requests.expire(bank.app, None)
        (status,) = await statuses(bank, raced)
        assert status != "open"
        paid += status == "paid"
    assert 0 < paid < 30
    assert await balances(bank, alice, bob) == [70 + 10 * paid, 1_030 - 10 * paid]
    for holder in (alice, bob):
        ends = [each for each in await event_types(bank, holder) if each.startswith("payment_r")]
        assert len(ends) == 4 * 30  # one of each request's creation, one of its end


@pytest.mark.parametrize("who", ["payer", "requester"])
async def test_a_freeze_in_between_stops_a_payment(bank: Bank, who: str) -> None:
    for _ in range(5):
        alice, bob = await bank.open(), await bank.open(100)
        first, second = await ask(bank, alice, bob), await ask(bank, alice, bob)
        outcome, _ = await asyncio.gather(
            bank.outcome(payment(bob, first)), bank.freeze(bob if who == "payer" else alice)
        )
        refused = "account_frozen" if who == "payer" else "receiver_unavailable"
        assert outcome in {"completed", refused}
        assert await bank.outcome(payment(bob, second)) == refused
        assert await statuses(bank, first) == {"paid" if outcome == "completed" else "open"}
        assert await statuses(bank, second) == {"open"}
        assert await bank.balance(alice) == (10 if outcome == "completed" else 0)


@pytest.mark.contract("2.2.3", "11.1.7")
async def test_payers_of_each_others_requests_do_not_deadlock(bank: Bank) -> None:
    """A deadlock would be raised as Conflict: nothing here tries again."""
    alice, bob = await bank.open(1_000), await bank.open(1_000)
    to_bob = [await ask(bank, alice, bob) for _ in range(40)]
    to_alice = [await ask(bank, bob, alice, amount=7) for _ in range(40)]
    calls: list[Any] = []
    for n, (of_alice, of_bob) in enumerate(zip(to_bob, to_alice, strict=True)):
        payments = [payment(bob, of_alice), payment(alice, of_bob)]
        calls += [bank.post(*payments[:: 1 if n % 2 else -1])]
        calls += [bank.post(transfer(alice, bob, 1)), bank.post(transfer(bob, alice, 1))]
        calls.append(payment_requests.expire(bank.app, None))
    Random(5).shuffle(calls)
    await asyncio.gather(*calls)
    assert await balances(bank, alice, bob) == [1_000 + 40 * 3, 1_000 - 40 * 3]


async def _expire(bank: Bank, request: UUID) -> None:
    await end_requests(bank, request)
    await payment_requests.expire(bank.app, None)


async def _last_events(bank: Bank, holder: Holder) -> Any:
    """The last two, the older first."""
    rows = await bank.app.fetch(
        "SELECT * FROM outbox.events WHERE account_id = $1 ORDER BY sequence DESC LIMIT 2",
        holder.account_id,
    )
    return rows[::-1]
