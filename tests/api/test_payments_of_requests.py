"""Paying a request: the transfer and the end of the request are one commit."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.api.test_payment_requests import ask
from tests.api_process import Api, User
from tests.backdating import end_time


@pytest.fixture
def alice(api: Api) -> User:
    return api.user(name="Alice")


@pytest.fixture
def bob(api: Api) -> User:
    return api.user(1_000)


def pay(payer: User, asked: Any, key: str = "pay") -> Any:
    return payer.post(f"/payment_requests/{asked['id']}/pay", key=key)


@pytest.mark.contract("11.1.4")
@pytest.mark.parametrize("named", [True, False])
def test_paying_answers_with_the_transfer(api: Api, alice: User, bob: User, *, named: bool) -> None:
    to = {"payer_email": bob.email} if named else {}
    asked = ask(alice, 300, description="Rent", metadata={"flat": "4"}, **to)
    answer = pay(bob, asked)
    assert answer.status == 201, answer.body
    transfer = answer.json()
    expected = {
        "object": "transaction", "type": "transfer", "status": "completed", "direction": "sent",
        "amount": 300, "sender_id": bob.account_id, "receiver_id": alice.account_id,
        "description": "Rent", "metadata": {"flat": "4"}, "balance_after": 700,
    }  # fmt: skip
    assert {name: transfer[name] for name in expected} == expected
    assert (alice.balance, bob.balance) == (300, 700)
    for user, direction in ((alice, "sent"), (bob, "received")):
        seen = user.get(f"/payment_requests/{asked['id']}").json()
        paid = {"status": "paid", "transaction_id": transfer["id"], "direction": direction}
        assert seen == asked | paid
        assert user.get("/payment_requests", status="paid").json()["data"] == [seen]
    assert bob.get(f"/transactions/{transfer['id']}").json() == transfer
    api.verify()


@pytest.mark.contract("11.1.4")
def test_others_do_not_find_a_named_request_and_no_user_pays_his_own(
    api: Api, alice: User, bob: User
) -> None:
    named, own = ask(alice, payer_email=bob.email), ask(bob)
    carol = api.user(1_000)
    unknown = {"id": "prq_7zzzzzzzzzzzzzzzzzzzzzzzzz"}
    for payer, asked, expected in (
        (carol, named, (404, "not_found")),
        (carol, unknown, (404, "not_found")),
        (bob, own, (403, "forbidden")),
    ):
        answer = pay(payer, asked, f"key-{asked['id']}")
        assert (answer.status, answer.json()["code"]) == expected
        repeated = pay(payer, asked, f"key-{asked['id']}")
        assert (repeated.status, repeated.body) == (answer.status, answer.body)
    api.verify()


@pytest.mark.contract("11.1.4")
def test_an_own_request_stays_forbidden_when_it_is_not_open(alice: User) -> None:
    asked = ask(alice)
    alice.post(f"/payment_requests/{asked['id']}/cancel")
    assert pay(alice, asked).json()["code"] == "forbidden"


@pytest.mark.contract("11.1.4", "11.1.7")
@pytest.mark.parametrize("status", ["canceled", "expired", "paid"])
def test_what_is_not_open_is_not_paid(api: Api, alice: User, bob: User, status: str) -> None:
    asked = ask(alice)
    if status == "canceled":
        alice.post(f"/payment_requests/{asked['id']}/cancel")
    elif status == "expired":
        end_time(api.database_url, asked["id"])
    else:
        assert pay(api.user(500), asked).status == 201
    before = alice.balance
    problem = pay(bob, asked).json()
    found = problem["status"], problem["code"], problem["status_now"]
    assert found == (409, "request_not_open", status)
    assert pay(bob, asked).json() == problem
    assert (alice.balance, bob.balance) == (before, 1_000)
    api.verify()


@pytest.mark.contract("11.1.4")
def test_without_the_money_a_failed_transaction_is_recorded_and_it_stays_open(
    api: Api, alice: User, bob: User
) -> None:
    asked = ask(alice, 5_000, payer_email=bob.email)
    problem = pay(bob, asked).json()
    assert (problem["status"], problem["code"]) == (402, "insufficient_funds")
    failed = bob.get(f"/transactions/{problem['transaction_id']}").json()
    assert (failed["status"], failed["amount"]) == ("failed", 5_000)
    assert bob.get(f"/payment_requests/{asked['id']}").json()["status"] == "open"
    api.fund(bob, 9_000)
    assert pay(bob, asked, "repeated").status == 201
    api.verify()


@pytest.mark.contract("11.1.4")
def test_frozen_sides_and_other_currencies_are_refused(api: Api, alice: User, bob: User) -> None:
    asked = ask(alice)
    answers = [(pay(api.user(1_000, currency="USD"), asked), (422, "currency_mismatch"))]
    api.set_status(alice, "frozen")
    answers.append((pay(bob, asked), (422, "receiver_unavailable")))
    alice.post(f"/payment_requests/{asked['id']}/cancel")
    api.set_status(bob, "frozen")
    answers.append((pay(bob, asked, "frozen"), (403, "account_frozen")))  # before request_not_open
    for answer, expected in answers:
        assert (answer.status, answer.json()["code"]) == expected
    api.verify()


@pytest.mark.contract("11.1.4")
def test_a_key_pays_once_and_belongs_to_its_path(alice: User, bob: User) -> None:
    one, two = ask(alice), ask(alice)
    first, repeated = pay(bob, one), pay(bob, one)
    assert (first.status, first.body) == (repeated.status, repeated.body)
    assert repeated.headers["idempotent-replayed"] == "true"
    assert pay(bob, two).json()["code"] == "idempotency_key_reuse"
    assert bob.balance == 900
    missing = bob.post(f"/payment_requests/{two['id']}/pay")
    assert (missing.status, missing.json()["code"]) == (400, "idempotency_key_missing")


@pytest.mark.contract("11.1.4")
def test_a_body_without_members_is_no_body(alice: User, bob: User) -> None:
    asked = ask(alice)
    path = f"/api/v1/payment_requests/{asked['id']}/pay"
    headers = {"X-Idempotency-Key": "k"}
    first = bob.client.request("POST", path, headers=headers)
    repeated = bob.client.request("POST", path, json={}, headers=headers)
    assert (first.status, repeated.status, first.body) == (201, 201, repeated.body)
    assert bob.client.request("POST", path, json={"amount": 1}, headers=headers).status == 422


@pytest.mark.contract("11.1.9")
def test_events_come_after_those_of_the_transfer(api: Api, alice: User, bob: User) -> None:
    asked = ask(alice, payer_email=bob.email)
    transfer = pay(bob, asked).json()
    for user, caused in ((alice, False), (bob, True)):
        paid, completed = user.get("/events", limit=2).json()["data"]
        assert [completed["type"], paid["type"]] == [
            "transaction.completed",
            "payment_request.paid",
        ]
        assert completed["sequence"] + 1 == paid["sequence"]
        assert paid["data"]["object"] == user.get(f"/payment_requests/{asked['id']}").json()
        assert paid["data"]["previous"] == {"status": "open", "transaction_id": None}
        assert paid["data"]["object"]["transaction_id"] == transfer["id"]
        assert (paid["actor"], paid["request"] is not None) == (
            (bob.user_id, True) if caused else (None, False)
        )
    assert paid["request"]["idempotency_key"] == "pay"


@pytest.mark.contract("11.1.7")
def test_exactly_one_of_all_who_end_a_request_wins(api: Api, alice: User) -> None:
    """Of each request two payments, a cancellation and a decline at once, and for some the end of
    their time."""
    bob, total = api.user(100_000), 0
    dice = random.Random(7)
    with ThreadPoolExecutor(8) as threads:
        for asked in [ask(alice, 10, payer_email=bob.email) for _ in range(25)]:
            is_overdue = dice.random() < 0.3
            calls = _ends(api, alice, bob, asked, is_overdue=is_overdue)
            dice.shuffle(calls)
            answers = [future.result() for future in [threads.submit(call) for call in calls]]
            answers = [answer for answer in answers if answer is not None]
            won = [answer for answer in answers if answer.status < 300]
            assert len(won) == 1 or (is_overdue and not won)
            lost = [answer.json()["code"] for answer in answers if answer.status >= 300]
            assert set(lost) == {"request_not_open"}
            total += 10 * sum(answer.status == 201 for answer in won)
    assert (alice.balance, bob.balance) == (total, 100_000 - total)
    api.verify()


def _ends(
    api: Api, requester: User, payer: User, asked: Any, *, is_overdue: bool
) -> list[Callable[[], Any]]:
    path = f"/payment_requests/{asked['id']}"
    calls: list[Callable[[], Any]] = [
        partial(pay, payer, asked, f"a-{asked['id']}"),
        partial(pay, payer, asked, f"b-{asked['id']}"),
        partial(requester.post, f"{path}/cancel"),
        partial(payer.post, f"{path}/decline"),
    ]
    if is_overdue:
        calls.append(partial(end_time, api.database_url, asked["id"]))
    return calls
