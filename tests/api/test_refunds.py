"""Refunds over HTTP: the receiver of a transfer gives it back, in parts or whole."""

import pytest

from tests.api.assertions import problem, replays, transaction
from tests.api.test_holds import account, post
from tests.api_process import Api


@pytest.mark.contract("9.1.1", "7.2.1", "7.2.2")
def test_a_refund_gives_money_back_and_marks_what_it_refunded(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    paid = transaction(alice.send(bob, 100, "pay"), 201)
    assert (paid["refunded_amount"], paid["origin"], paid["scheduled_for"]) == (0, None, None)
    path = f"/transactions/{paid['id']}/refunds"
    part = post(bob, path, "part", amount=30, description="Broken", metadata={"item": "1"})
    refund = transaction(part, 201)
    assert (refund["type"], refund["origin"], refund["amount"]) == ("refund", paid["id"], 30)
    assert (refund["direction"], refund["balance_after"]) == ("sent", 70)
    assert (refund["description"], refund["metadata"]) == ("Broken", {"item": "1"})
    replays(part, post(bob, path, "part", metadata={"item": "1"}, description="Broken", amount=30))
    seen = transaction(alice.get(f"/transactions/{refund['id']}"))
    assert (seen["direction"], seen["balance_after"]) == ("received", 930)
    now = transaction(alice.get(f"/transactions/{paid['id']}"))
    assert now == paid | {"refunded_amount": 30}
    rest = transaction(post(bob, path), 201)
    assert rest["amount"] == 70
    now = transaction(bob.get(f"/transactions/{paid['id']}"))
    assert (now["refunded_amount"], now["status"]) == (100, "reversed")
    assert [t["id"] for t in alice.get("/transactions", status="reversed").json()["data"]] == [
        paid["id"]
    ]
    assert (account(alice)[0], account(bob)[0]) == (1_000, 0)
    api.verify()


@pytest.mark.contract("9.1.2")
def test_all_refunds_together_never_exceed_the_transfer(api: Api) -> None:
    alice, bob = api.user(1_000), api.user(1_000)
    paid = transaction(alice.send(bob, 100, "pay"), 201)
    path = f"/transactions/{paid['id']}/refunds"
    transaction(post(bob, path, amount=60), 201)
    assert problem(post(bob, path, amount=41), 422, "amount_too_large")["left"] == 40
    transaction(post(bob, path, amount=40), 201)
    assert problem(post(bob, path), 422, "amount_too_large")["left"] == 0


@pytest.mark.contract("9.1.3", "7.3.1")
def test_what_can_not_be_refunded_is_refused(api: Api) -> None:
    alice, bob, carol = api.user(1_000), api.user(), api.user()
    paid = transaction(alice.send(bob, 100, "pay"), 201)
    path = f"/transactions/{paid['id']}/refunds"
    problem(post(carol, path), 404, "not_found")
    problem(post(alice, path), 403, "forbidden")
    failed = problem(alice.send(bob, 10_000, "too-much"), 402, "insufficient_funds")
    gone = f"/transactions/{failed['transaction_id']}/refunds"
    problem(post(bob, gone), 404, "not_found")
    (funding,) = alice.get("/transactions", direction="received").json()["data"]
    problem(post(alice, f"/transactions/{funding['id']}/refunds"), 422, "not_refundable")
    transaction(bob.send(carol, 100, "spend"), 201)
    refused = problem(post(bob, path), 402, "insufficient_funds")
    recorded = transaction(bob.get(f"/transactions/{refused['transaction_id']}"))
    assert (recorded["type"], recorded["status"], recorded["amount"]) == ("refund", "failed", 100)
    assert recorded["origin"] == paid["id"]
    api.set_status(alice, "frozen")
    problem(post(bob, path), 422, "receiver_unavailable")
    problem(post(bob, "/transactions/txn_x/refunds"), 404, "not_found")
