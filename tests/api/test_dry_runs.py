"""Dry runs: what would become of a payment, without key, lock or promise."""

from typing import Any, Final

import pytest

from finpay import ids
from tests.api.assertions import UNKNOWN_ACCOUNT, invalid, problem, transaction
from tests.api.conftest import Strict
from tests.api.rate_limit_headers import left_of
from tests.api.test_api_keys import key_of
from tests.api.test_holds import account, make_hold, post
from tests.api_process import Api, User
from tests.backdating import end_hold

MEMBERS: Final = [
    "object", "outcome", "amount", "currency", "balance_after", "available_after", "limits",
]  # fmt: skip
MAX_UNKNOWN: Final = 20


def ask(user: User, path: str, /, **body: Any) -> Any:
    """A dry run without a key."""
    return user.client.request("POST", f"/api/v1{path}?dry_run=true", json=body)


def dry_run(answer: Any) -> Any:
    """The members of a dry run, all of them, in order."""
    assert answer.status == 200, answer.body
    members = answer.json()
    assert list(members) == MEMBERS
    assert members["object"] == "dry_run"
    return members


def limit_daily(api: Api, user: User, amount: int) -> None:
    change = "UPDATE ledger.accounts SET limit_daily = $2 WHERE user_id = $1"
    api.owner(lambda database: database.execute(change, user.uuid, amount))


def result(answer: Any) -> tuple[str, int, int]:
    members = dry_run(answer)
    return members["outcome"], members["balance_after"], members["available_after"]


@pytest.mark.contract("7.5.1", "7.5.2")
def test_what_would_happen_is_said_and_does_not_happen(api: Api) -> None:
    alice, bob = api.user(1_000), api.user(5)
    make_hold(alice, bob, 100)
    before = api.sql("SELECT count(*) AS n FROM audit.log")[0]["n"]
    members = dry_run(ask(alice, "/transactions", receiver_id=bob.account_id, amount=30))
    assert members["limits"] == alice.get("/accounts").json()["limits"]
    assert (members["amount"], members["currency"]) == (30, "ZAR")
    assert (members["balance_after"], members["available_after"]) == (970, 870)
    held = ask(alice, "/holds", receiver_email=bob.email, amount=30, expires_in=60)
    assert result(held) == ("completed", 1_000, 870)
    assert account(alice) == (1_000, 100, 900)
    assert account(bob) == (5, 0, 5)
    assert api.sql("SELECT count(*) AS n FROM audit.log")[0]["n"] == before
    sent = transaction(alice.send(bob, 30, "really"), 201)
    assert (sent["balance_after"], sent["available_after"]) == (970, 870)


@pytest.mark.contract("7.5.1")
def test_a_refusal_is_an_outcome_with_the_balances_of_now(api: Api) -> None:
    alice, bob, dollars = api.user(100), api.user(), api.user(currency="USD")
    frozen = api.user()
    api.set_status(frozen, "frozen")
    rows: list[tuple[dict[str, object], str]] = [
        ({"receiver_id": alice.account_id}, "same_account"),
        ({"receiver_id": UNKNOWN_ACCOUNT}, "receiver_not_found"),
        ({"receiver_id": frozen.account_id}, "receiver_unavailable"),
        ({"receiver_id": dollars.account_id}, "currency_mismatch"),
        ({"receiver_id": bob.account_id, "if_version": 7}, "precondition_failed"),
        ({"receiver_id": bob.account_id, "if_balance_gte": 101}, "precondition_failed"),
        ({"receiver_id": bob.account_id, "amount": 101}, "insufficient_funds"),
    ]
    for path in ("/transactions", "/holds"):
        for body, outcome in rows:
            answer = ask(alice, path, **{"amount": 1, **body})
            assert result(answer) == (outcome, 100, 100)
    assert alice.get("/transactions", status="failed").json()["data"] == []
    api.set_status(alice, "frozen")
    answer = ask(alice, "/transactions", receiver_id=bob.account_id, amount=1)
    assert result(answer) == ("account_frozen", 100, 100)


@pytest.mark.contract("7.5.1")
def test_a_limit_is_regarded(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    limit_daily(api, alice, 100)
    transaction(alice.send(bob, 60, "one"), 201)
    members = dry_run(ask(alice, "/transactions", receiver_id=bob.account_id, amount=41))
    assert (members["outcome"], members["limits"]["sent_today"]) == ("limit_exceeded", 60)
    members = dry_run(ask(alice, "/transactions", receiver_id=bob.account_id, amount=40))
    assert members["outcome"] == "completed"


@pytest.mark.contract("7.5.1", "7.8.2")
def test_expired_holds_are_given_back_to_who_is_short_of_money(api: Api) -> None:
    """To what is available and to the limit, as the payment itself does."""
    alice, bob = api.user(100), api.user()
    limit_daily(api, alice, 90)
    made = make_hold(alice, bob, 60)
    asked = {"receiver_id": bob.account_id, "amount": 50}
    assert result(ask(alice, "/transactions", **asked)) == ("limit_exceeded", 100, 40)
    end_hold(api.database_url, made["id"])
    members = dry_run(ask(alice, "/transactions", **asked))
    assert (members["outcome"], members["available_after"]) == ("completed", 50)
    assert members["limits"]["sent_today"] == 0
    assert account(alice) == (100, 60, 40), "nothing was released"
    sent = transaction(alice.send(bob, 50, "really"), 201)
    assert sent["available_after"] == members["available_after"]


@pytest.mark.contract("7.5.1")
def test_a_refund_is_tried_and_who_may_not_is_refused_with_a_status(api: Api) -> None:
    alice, bob, carol = api.user(1_000), api.user(), api.user()
    paid = transaction(alice.send(bob, 100, "pay"), 201)
    path = f"/transactions/{paid['id']}/refunds"
    assert result(ask(bob, path)) == ("completed", 0, 0)
    members = dry_run(ask(bob, path, amount=30))
    assert (members["amount"], members["balance_after"]) == (30, 70)
    assert result(ask(bob, path, amount=101)) == ("amount_too_large", 100, 100)
    problem(ask(alice, path), 403, "forbidden")
    problem(ask(carol, path), 404, "not_found")
    problem(ask(bob, "/transactions/txn_x/refunds"), 404, "not_found")
    (funding,) = alice.get("/transactions", direction="received").json()["data"]
    answer = ask(alice, f"/transactions/{funding['id']}/refunds")
    assert result(answer)[0] == "not_refundable"
    assert bob.balance == 100


@pytest.mark.contract("7.5.2")
def test_a_key_is_neither_needed_nor_used(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    body = {"receiver_id": bob.account_id, "amount": 1}
    path, headers = "/api/v1/transactions?dry_run=true", {"X-Idempotency-Key": "one"}
    dry_run(alice.client.request("POST", path, json=body, headers=headers))
    transaction(alice.send(bob, 1, "one"), 201)
    second = alice.client.request("POST", path, json=body, headers=headers)
    assert "Idempotent-Replayed" not in second.headers
    assert result(second) == ("completed", 98, 98)
    bad = alice.client.request("POST", path, json=body, headers={"X-Idempotency-Key": "a b"})
    assert dry_run(bad)["outcome"] == "completed"
    real = alice.client.request("POST", "/api/v1/transactions?dry_run=false", json=body)
    problem(real, 400, "idempotency_key_missing")
    for query, name in (("dry_run=yes", "dry_run"), ("dry_run=true&dry_run=true", "dry_run")):
        answer = alice.client.request(
            "POST", f"/api/v1/transactions?{query}", json=body, headers=headers
        )
        invalid(answer, name, kind="parameter")
    capture = f"/holds/{make_hold(alice, bob, 1)['id']}/capture?dry_run=true"
    invalid(post(bob, capture), "dry_run", kind="parameter")


@pytest.mark.contract("7.5.2", "7.9.1")
def test_it_counts_as_the_real_one(strict: Strict) -> None:
    alice, bob = strict.user(100), strict.user()
    answer = ask(alice, "/transactions", receiver_id=bob.account_id, amount=1)
    assert left_of(answer) == {"global": 99, "transaction": 19}
    assert left_of(ask(alice, "/holds", amount=1)) == {"global": 98, "transaction": 18}


@pytest.mark.contract("7.5.3")
def test_unknown_receivers_are_counted_though_rate_limits_are_off(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    unknown = [ids.encode("acc", ids.new_uuid()) for _ in range(MAX_UNKNOWN)]
    for receiver in (*unknown[1:], *unknown):  # each counts once
        answer = ask(alice, "/holds", receiver_id=receiver, amount=1)
        assert result(answer)[0] == "receiver_not_found"
        if receiver == unknown[0]:
            break
    body: dict[str, Any] = {"receiver_id": bob.account_id, "amount": 1}
    for path in ("/transactions", "/holds"):
        answer = ask(alice, path, **body)
        members = problem(answer, 429, "rate_limited")
        assert members["policy"] == "dry_run"
        assert 0 < int(answer.headers["Retry-After"]) <= 86_400
    transaction(alice.send(bob, 1, "still"), 201)
    assert result(ask(bob, "/transactions", receiver_id=alice.account_id, amount=1))[0] == (
        "completed"
    )
    yesterday = "UPDATE ledger.dry_run_receivers SET day = day - 1"
    api.owner(lambda database: database.execute(yesterday))
    assert result(ask(alice, "/transactions", **body))[0] == "completed"


@pytest.mark.contract("7.5.3")
def test_an_email_is_counted_as_an_account_id_is(api: Api) -> None:
    alice = api.user(100)
    for number in range(MAX_UNKNOWN):
        email = f"unknown{number}@example.com"
        answer = ask(alice, "/transactions", receiver_email=email, amount=1)
        assert result(answer)[0] == "receiver_not_found"
    answer = ask(alice, "/transactions", receiver_email="unknown@example.org", amount=1)
    problem(answer, 429, "rate_limited")


@pytest.mark.contract("1.6.9", "7.5.1")
def test_a_key_needs_the_scope_of_transfers_whatever_it_tries(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    body = {"receiver_id": bob.account_id, "amount": 1}
    for scope, status in (("transactions:write", 200), ("holds:write", 403)):
        secret = key_of(alice, scopes=[scope])["secret"]
        client = api.client(access_token=secret)
        answer = client.request("POST", "/api/v1/holds?dry_run=true", json=body)
        assert answer.status == status, answer.body
        if status == 403:
            assert problem(answer, 403, "insufficient_scope")["scope"] == "transactions:write"
