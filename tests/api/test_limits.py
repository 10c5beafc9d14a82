"""Limits of an account: what counts, who lowers and raises them, and from when on."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from finpay.ledger import limits, operator_commands
from tests.api.assertions import invalid, problem, transaction
from tests.api.test_holds import make_hold, post
from tests.api_process import Api, User

LIMITS: Final = ["single", "daily", "sent_today", "resets_at", "pending"]


def set_by_operator(api: Api, user: User, single: int | None, daily: int | None) -> None:
    key = f"limits-{single}-{daily}-{user.account_id}"
    api.owner(
        lambda database: operator_commands.set_limits(
            database, user.account_id, single, daily, key=key
        )
    )


def shown(user: User) -> Any:
    members = user.get("/accounts").json()["limits"]
    assert list(members) == LIMITS
    return members


def change(user: User, **wanted: int | None) -> Any:
    return user.client.request("PATCH", "/api/v1/accounts", json={"limits": wanted})


def changed(user: User, **wanted: int | None) -> Any:
    """The limits after a change of the owner."""
    answer = change(user, **wanted)
    assert answer.status == 200, answer.body
    return answer.json()["limits"]


def a_day_passes(api: Api, user: User) -> None:
    """As if the pending limits had waited for their time."""
    query = (
        "UPDATE ledger.account_limits l SET effective_at = effective_at - interval '24 hours' "
        "FROM ledger.accounts a WHERE a.id = l.account_id AND a.public_id = $1"
    )
    api.owner(lambda database: database.execute(query, user.account_id))


def updates(user: User) -> list[Any]:
    """The data of account.updated, oldest first."""
    listed = user.get("/events", type="account.updated").json()["data"]
    return [event["data"] for event in reversed(listed)]


@pytest.mark.contract("7.8.1")
def test_an_account_shows_its_limits_and_what_it_sent_today(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    members = shown(alice)
    assert (members["single"], members["daily"], members["pending"]) == (None, None, None)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert members["resets_at"] == f"{midnight + timedelta(days=1):%Y-%m-%dT%H:%M:%S.%fZ}"
    assert members["sent_today"] == 0
    transaction(alice.send(bob, 10, "one"), 201)
    assert shown(alice)["sent_today"] == 10
    assert shown(bob)["sent_today"] == 0
    refund = post(bob, f"/transactions/{alice.send(bob, 5, 'two').json()['id']}/refunds")
    transaction(refund, 201)
    assert (shown(alice)["sent_today"], shown(bob)["sent_today"]) == (15, 0)


@pytest.mark.contract("7.8.1")
def test_the_day_is_that_of_the_decision(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    set_by_operator(api, alice, None, 100)
    transaction(alice.send(bob, 100, "one"), 201)
    problem(alice.send(bob, 1, "two"), 422, "limit_exceeded")
    yesterday = "UPDATE ledger.accounts SET sent_on = sent_on - 1 WHERE public_id = $1"
    api.owner(lambda database: database.execute(yesterday, alice.account_id))
    assert shown(alice)["sent_today"] == 0
    transaction(alice.send(bob, 100, "three"), 201)
    assert shown(alice)["sent_today"] == 100
    proof = "UPDATE ledger.accounts SET sent_today = 200 WHERE public_id = $1"
    api.owner(lambda database: database.execute(proof, alice.account_id))  # for `ledger verify`


@pytest.mark.contract("7.8.2")
def test_payments_of_requests_and_items_of_batches_count(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    set_by_operator(api, alice, 50, 100)
    asked = bob.post("/payment_requests", amount=60, payer_email=alice.email).json()["id"]
    refused = problem(post(alice, f"/payment_requests/{asked}/pay"), 422, "limit_exceeded")
    assert refused["limits"]["single"] == 50
    assert alice.get(f"/payment_requests/{asked}").json()["status"] == "open"
    asked = bob.post("/payment_requests", amount=40, payer_email=alice.email).json()["id"]
    transaction(post(alice, f"/payment_requests/{asked}/pay"), 201)
    items = [{"receiver_id": bob.account_id, "amount": amount} for amount in (50, 20, 10)]
    answer = post(alice, "/transactions/batch", mode="independent", transactions=items).json()
    assert [item["status"] for item in answer["data"]] == ["completed", "failed", "completed"]
    error = answer["data"][1]["error"]
    assert (error["code"], error["limits"]["sent_today"]) == ("limit_exceeded", 90)
    assert shown(alice)["sent_today"] == 100
    atomic = post(alice, "/transactions/batch", mode="atomic", transactions=items[:1])
    assert (atomic.status, atomic.json()["code"]) == (422, "limit_exceeded")
    assert (atomic.json()["limits"]["sent_today"], atomic.json()["transaction_id"]) == (100, None)


@pytest.mark.contract("7.8.2")
def test_what_is_released_is_given_back_on_the_same_day(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    set_by_operator(api, alice, None, 100)
    hold = make_hold(alice, bob, 60)["id"]
    withdrawal = post(alice, "/withdrawals", amount=40, destination={}).json()["id"]
    problem(alice.send(bob, 1, "full"), 422, "limit_exceeded")
    transaction(post(bob, f"/holds/{hold}/capture", amount=10, final=False), 201)
    assert shown(alice)["sent_today"] == 100, "a capture was counted as its hold"
    post(bob, f"/holds/{hold}/void")
    assert shown(alice)["sent_today"] == 50
    assert post(alice, f"/withdrawals/{withdrawal}/cancel").status == 200
    assert shown(alice)["sent_today"] == 10


@pytest.mark.contract("7.8.3")
def test_new_accounts_have_the_default_limits_as_their_ceiling(
    serve: Callable[..., Api],
) -> None:
    api = serve(FINPAY_LIMIT_SINGLE="ZAR:500,USD:30", FINPAY_LIMIT_DAILY="ZAR:900")
    rand, dollars, euros = (api.user(currency=code) for code in ("ZAR", "USD", "EUR"))
    limits_of = [(each["single"], each["daily"]) for each in map(shown, (rand, dollars, euros))]
    assert limits_of == [(500, 900), (30, None), (None, None)]
    invalid(change(rand, single=501), "#/limits")
    invalid(change(rand, daily=None), "#/limits")
    assert changed(dollars, daily=7)["daily"] == 7


@pytest.mark.contract("7.8.3")
def test_the_operators_limits_count_at_once_and_bound_the_owners(api: Api) -> None:
    alice = api.user()
    set_by_operator(api, alice, 50, 100)
    assert (shown(alice)["single"], shown(alice)["daily"]) == (50, 100)
    for wanted in ({"single": 51}, {"daily": 101}, {"single": None}, {"daily": None}):
        invalid(change(alice, **wanted), "#/limits")
    changed(alice, single=10)
    changed(alice, single=50)
    set_by_operator(api, alice, 200, 400)
    members = shown(alice)
    assert (members["single"], members["daily"], members["pending"]) == (200, 400, None)
    set_by_operator(api, alice, None, None)
    assert changed(alice, single=1)["single"] == 1
    assert changed(alice, single=None)["pending"]["single"] is None


@pytest.mark.contract("7.8.4")
def test_a_lower_limit_counts_at_once(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    assert shown(alice)["single"] is None
    members = changed(alice, single=10)
    assert (members["single"], members["daily"], members["pending"]) == (10, None, None)
    assert shown(alice) == members, "a cached account would be stale"
    problem(alice.send(bob, 11, "one"), 422, "limit_exceeded")
    assert changed(alice, daily=20)["single"] == 10, "what is not sent stays"


@pytest.mark.contract("7.8.4")
def test_a_higher_limit_counts_after_a_day_both_values_as_they_will_be(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    changed(alice, single=10, daily=50)
    asked_at = datetime.now(UTC)
    members = changed(alice, single=20, daily=40)
    assert (members["single"], members["daily"]) == (10, 40)
    pending = members["pending"]
    assert (pending["single"], pending["daily"]) == (20, 40)
    effective_at = datetime.fromisoformat(pending["effective_at"])
    assert timedelta(hours=24) <= effective_at - asked_at < timedelta(hours=24, minutes=1)
    refused = problem(alice.send(bob, 11, "early"), 422, "limit_exceeded")
    assert refused["limits"]["pending"] == pending
    a_day_passes(api, alice)
    members = shown(alice)  # by the clock, though no worker runs
    assert (members["single"], members["daily"], members["pending"]) == (20, 40, None)
    transaction(alice.send(bob, 11, "late"), 201)
    assert problem(alice.send(bob, 21, "more"), 422, "limit_exceeded")["limits"]["single"] == 20


@pytest.mark.contract("7.8.4")
def test_no_limit_is_a_raise_and_any_change_drops_what_is_pending(api: Api) -> None:
    alice = api.user()
    changed(alice, single=10)
    assert changed(alice, single=None)["pending"]["single"] is None
    for wanted in ({"daily": 5}, {"single": 10}, {}):
        assert changed(alice, single=None)["pending"] is not None
        assert changed(alice, **wanted)["pending"] is None
    assert shown(alice)["single"] == 10


@pytest.mark.contract("7.8.4")
def test_a_frozen_owner_may_change_them(api: Api) -> None:
    """Lower at once; what is higher waits, also if the account is unfrozen meanwhile."""
    alice = api.user()
    api.set_status(alice, "frozen")
    assert changed(alice, single=10)["single"] == 10
    members = changed(alice, single=20)
    assert (members["single"], members["pending"]["single"]) == (10, 20)
    api.set_status(alice, "active")
    a_day_passes(api, alice)
    assert api.owner(limits.apply_pending) >= 1
    assert shown(alice)["single"] == 20


@pytest.mark.contract("7.8.4")
def test_what_is_no_limit_is_refused(api: Api) -> None:
    alice = api.user()
    for value in (0, -1, 2**53, 1.5, "10", True):
        answer = alice.client.request(
            "PATCH", "/api/v1/accounts", json={"limits": {"daily": value}}
        )
        invalid(answer, "#/limits/daily")
    invalid(alice.client.request("PATCH", "/api/v1/accounts", json={}), "#/limits")
    unknown = alice.client.request("PATCH", "/api/v1/accounts", json={"limits": {"weekly": 1}})
    invalid(unknown, "#/limits/weekly")
    assert shown(alice)["daily"] is None


@pytest.mark.contract("7.8.5")
def test_the_owner_has_events_of_a_change_and_of_its_effect(api: Api) -> None:
    alice = api.user()
    before = alice.get("/accounts").json()
    answer = change(alice, single=10)
    lowered = updates(alice)[0]
    assert lowered["object"] == answer.json()
    assert lowered["object"] == before | {"limits": answer.json()["limits"]}
    assert lowered["previous"] == {"limits": before["limits"]}
    raised = changed(alice, single=None)
    a_day_passes(api, alice)
    assert api.owner(limits.apply_pending) >= 1
    assert api.owner(limits.apply_pending) == 0
    _, at_request, in_effect = updates(alice)
    assert at_request["object"]["limits"] == raised
    assert in_effect["object"]["limits"] == raised | {"single": None, "pending": None}
    assert in_effect["previous"]["limits"].keys() == raised.keys()
    assert in_effect["previous"]["limits"]["pending"].keys() == raised["pending"].keys()
    assert in_effect["previous"]["limits"]["single"] == 10
    listed = alice.get("/events", type="account.updated").json()["data"]
    assert [event["actor"] is None for event in listed] == [True, False, False]
    assert [event["request"] is None for event in listed] == [True, False, False]
    set_by_operator(api, alice, 5, 5)
    newest = alice.get("/events", type="account.updated").json()["data"][0]
    assert (newest["request"], newest["actor"]) == (None, None)
    assert newest["data"]["object"]["limits"]["single"] == 5
    api.verify()
