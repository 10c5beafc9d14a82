"""Preconditions, limits, and what a transaction says since it may be held, captured or refunded."""

import pytest

from tests.api.assertions import invalid, problem, transaction
from tests.api.test_holds import make_hold, post
from tests.api_process import Api


@pytest.mark.contract("7.4.1")
def test_a_transfer_needs_its_preconditions(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    body = {"receiver_id": bob.account_id, "amount": 1}
    problem(post(alice, "/transactions", **body, if_version=0), 412, "precondition_failed")
    problem(post(alice, "/transactions", **body, if_balance_gte=101), 412, "precondition_failed")
    make_hold(alice, bob, 50)  # changes neither balance nor version
    made = post(alice, "/transactions", **body, if_version=1, if_balance_gte=100)
    assert transaction(made, 201)["balance_after"] == 99
    problem(post(alice, "/transactions", **body, if_version=1), 412, "precondition_failed")
    items = {"mode": "independent", "transactions": [{**body, "if_version": 2}]}
    invalid(post(alice, "/transactions/batch", **items), "#/transactions/0/if_version")


@pytest.mark.contract("7.2.1")
def test_what_is_available_after_it_is_the_callers_own(api: Api) -> None:
    alice, bob = api.user(100), api.user(5)
    make_hold(alice, bob, 30)
    sent = transaction(alice.send(bob, 10, "pay"), 201)
    assert (sent["balance_after"], sent["available_after"]) == (90, 60)
    received = transaction(bob.get(f"/transactions/{sent['id']}"))
    assert (received["balance_after"], received["available_after"]) == (15, 15)


@pytest.mark.contract("7.2.1")
def test_a_capture_and_a_refund_have_what_is_available_to_who_makes_them(api: Api) -> None:
    alice, bob = api.user(1_000), api.user(50)
    make_hold(bob, alice, 20)
    hold = make_hold(alice, bob, 100)["id"]
    taken = transaction(post(bob, f"/holds/{hold}/capture", amount=40, final=False), 201)
    assert (taken["balance_after"], taken["available_after"]) == (90, 70)
    seen = transaction(alice.get(f"/transactions/{taken['id']}"))
    assert (seen["balance_after"], seen["available_after"]) == (960, 900)
    given = transaction(post(bob, f"/transactions/{taken['id']}/refunds", amount=10), 201)
    assert (given["balance_after"], given["available_after"]) == (80, 60)
    assert bob.get("/transactions").json()["data"][0] == given


@pytest.mark.contract("7.2.3")
def test_no_transaction_is_pending(api: Api) -> None:
    invalid(api.user().get("/transactions", status="pending"), "status", kind="parameter")


@pytest.mark.contract("7.1.2", "7.8.2")
def test_a_limit_is_named_with_what_was_sent(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    change = "UPDATE ledger.accounts SET limit_daily = 100 WHERE user_id = $1"
    api.owner(lambda database: database.execute(change, alice.uuid))
    transaction(alice.send(bob, 60, "one"), 201)
    limits = problem(alice.send(bob, 41, "two"), 422, "limit_exceeded")["limits"]
    shown = alice.get("/accounts").json()["limits"]
    assert limits == shown
    assert (shown["single"], shown["daily"], shown["sent_today"]) == (None, 100, 60)
