"""Holds over HTTP: made by the payer, captured or voided by the receiver."""

import re
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

import pytest

from tests.api.assertions import (
    ID,
    TIME,
    UNKNOWN_ACCOUNT,
    invalid,
    problem,
    replays,
    sending,
    transaction,
)
from tests.api_process import Api, User
from tests.backdating import end_hold

HOLD_MEMBERS: Final = [
    "id", "object", "status", "direction", "amount", "captured_amount", "remaining", "currency",
    "sender_id", "receiver_id", "description", "metadata", "expires_at", "created_at",
]  # fmt: skip
ABSENT: Final = "hld_01h455vb4pex5vsknk084sn02q"
_KEYS: Final = count(1)


def post(user: User, path: str, key: str | None = None, /, **body: Any) -> Any:
    """A POST with a key of its own."""
    key = key or f"operation-{next(_KEYS)}"
    return user.client.request(
        "POST", f"/api/v1{path}", json=body, headers={"X-Idempotency-Key": key}
    )


def make_hold(sender: User, receiver: User, amount: int, **more: Any) -> Any:
    answer = post(sender, "/holds", receiver_id=receiver.account_id, amount=amount, **more)
    return hold(answer, 201)


def hold(answer: Any, status: int = 200) -> Any:
    """The members of a hold, all of them, in order."""
    assert answer.status == status, answer.body
    members = answer.json()
    assert list(members) == HOLD_MEMBERS
    assert re.fullmatch(f"hld_{ID}", members["id"])
    assert re.fullmatch(TIME, members["expires_at"])
    return members


def account(user: User) -> tuple[int, int, int]:
    members = user.get("/accounts").json()
    return members["balance"], members["held"], members["available"]


@pytest.mark.contract("8.1.1", "8.1.2", "8.4.1")
def test_a_hold_is_made_read_captured_and_read_once_more(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    made = make_hold(alice, bob, 600, description="Booking", metadata={"booking": "7"})
    lasts = [datetime.fromisoformat(made[name]) for name in ("created_at", "expires_at")]
    assert lasts[1] - lasts[0] == timedelta(days=7)
    assert (made["status"], made["direction"], made["remaining"]) == ("open", "sent", 600)
    assert account(alice) == (1_000, 600, 400)
    assert hold(alice.get(f"/holds/{made['id']}")) == made
    seen = hold(bob.get(f"/holds/{made['id']}"))
    assert seen == made | {"direction": "received"}
    taken = transaction(post(bob, f"/holds/{made['id']}/capture", amount=250), 201)
    assert (taken["origin"], taken["amount"], taken["direction"]) == (made["id"], 250, "received")
    assert (taken["description"], taken["metadata"]) == ("Booking", {"booking": "7"})
    assert transaction(bob.get(f"/transactions/{taken['id']}")) == taken
    assert account(alice) == (750, 0, 750)
    closed = hold(alice.get(f"/holds/{made['id']}"))
    assert closed == made | {"status": "captured", "captured_amount": 250, "remaining": 0}
    api.verify()


@pytest.mark.contract("8.1.1")
def test_the_receiver_is_named_as_in_a_transfer(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    by_email = post(alice, "/holds", receiver_email=bob.email, amount=1, currency="ZAR")
    assert hold(by_email, 201)["receiver_id"] == bob.account_id
    invalid(post(alice, "/holds", amount=1), "#")
    for name, value in [
        ("expires_in", 59), ("expires_in", 2_592_001), ("expires_in", None), ("amount", 0),
        ("if_version", -1), ("if_balance_gte", "1"), ("final", True),
    ]:  # fmt: skip
        with sending((name, value)):
            body = {"receiver_id": bob.account_id, "amount": 1, name: value}
            invalid(post(alice, "/holds", **body), f"#/{name}")


@pytest.mark.contract("7.4.1", "8.1.3")
def test_a_hold_is_refused_as_a_transfer_is(api: Api) -> None:
    alice, bob, dollars = api.user(100), api.user(), api.user(currency="USD")
    rows: list[tuple[dict[str, object], int, str]] = [
        ({"receiver_id": alice.account_id}, 422, "same_account"),
        ({"receiver_id": UNKNOWN_ACCOUNT}, 404, "receiver_not_found"),
        ({"receiver_id": dollars.account_id}, 422, "currency_mismatch"),
        ({"receiver_id": bob.account_id, "if_version": 7}, 412, "precondition_failed"),
        ({"receiver_id": bob.account_id, "if_balance_gte": 101}, 412, "precondition_failed"),
        ({"receiver_id": bob.account_id, "amount": 101}, 402, "insufficient_funds"),
    ]
    for body, status, code in rows:
        refused = problem(post(alice, "/holds", **{"amount": 1, **body}), status, code)
        if code == "insufficient_funds":
            assert refused["transaction_id"] is None
    assert alice.get("/transactions", status="failed").json()["data"] == []


@pytest.mark.contract("8.2.1", "8.2.2")
def test_captures_in_part_leave_it_open_until_the_last(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    path = f"/holds/{make_hold(alice, bob, 100)['id']}"
    transaction(post(bob, f"{path}/capture", amount=30, final=False), 201)
    assert account(alice) == (970, 70, 900)
    members = problem(post(bob, f"{path}/capture", amount=71), 422, "amount_too_large")
    assert members["left"] == 70
    rest = transaction(post(bob, f"{path}/capture"), 201)
    assert (rest["amount"], account(alice)) == (70, (900, 0, 900))
    members = problem(post(bob, f"{path}/capture"), 409, "hold_not_open")
    assert members["status_now"] == "captured"


@pytest.mark.contract("7.1.3", "8.2.4", "8.2.5")
def test_the_receiver_alone_voids_and_captures(api: Api) -> None:
    alice, bob, carol = api.user(1_000), api.user(), api.user()
    path = f"/holds/{make_hold(alice, bob, 100)['id']}"
    for operation in ("capture", "void"):
        problem(post(alice, f"{path}/{operation}"), 403, "forbidden")
        problem(post(carol, f"{path}/{operation}"), 404, "not_found")
        problem(post(carol, f"/holds/{ABSENT}/{operation}"), 404, "not_found")
    problem(carol.get(path), 404, "not_found")
    api.set_status(bob, "frozen")
    problem(post(bob, f"{path}/capture"), 403, "account_frozen")
    voided = hold(post(bob, f"{path}/void"))
    assert (voided["status"], voided["remaining"]) == ("voided", 0)
    assert voided == hold(bob.get(path))
    assert account(alice) == (1_000, 0, 1_000)
    assert problem(post(bob, f"{path}/void"), 409, "hold_not_open")["status_now"] == "voided"


@pytest.mark.contract("8.2.1")
def test_a_frozen_payer_can_not_be_captured_from(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    path = f"/holds/{make_hold(alice, bob, 100)['id']}"
    api.set_status(alice, "frozen")
    problem(post(bob, f"{path}/capture"), 422, "sender_unavailable")
    assert account(alice) == (1_000, 100, 900)


@pytest.mark.contract("1.4.3", "1.8.3")
def test_keys_belong_to_a_path_with_its_id(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    first, second = (make_hold(alice, bob, 10)["id"] for _ in range(2))
    taken = post(bob, f"/holds/{first}/capture", "one")
    replays(taken, post(bob, f"/holds/{first}/capture/", "one"))
    without_body = bob.client.request(
        "POST", f"/api/v1/holds/{first}/capture", headers={"X-Idempotency-Key": "one"}
    )
    replays(taken, without_body)
    problem(post(bob, f"/holds/{second}/capture", "one"), 422, "idempotency_key_reuse")
    problem(post(bob, f"/holds/{first}/void", "one"), 422, "idempotency_key_reuse")
    problem(post(bob, f"/holds/{first}/capture", "one", amount=1), 422, "idempotency_key_reuse")


@pytest.mark.contract("1.1.4", "1.4.3")
def test_a_malformed_id_is_not_found_before_its_key_is_read(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    taken = make_hold(alice, bob, 10)["id"]
    transaction(post(bob, f"/holds/{taken}/capture", "used"), 201)
    for text in ("hld_x", taken.replace("hld", "txn"), "x"):
        problem(post(bob, f"/holds/{text}/capture", "used"), 404, "not_found")
    path = f"/api/v1/holds/{taken}/capture"
    problem(bob.client.request("POST", path, json={}), 400, "idempotency_key_missing")


@pytest.mark.contract("8.3.1")
def test_from_its_time_on_a_hold_is_expired_for_both_parties(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    made = make_hold(alice, bob, 100, expires_in=60)
    end_hold(api.database_url, made["id"])
    for user in (alice, bob):
        seen = hold(user.get(f"/holds/{made['id']}"))
        assert (seen["status"], seen["remaining"]) == ("expired", 0)
    for operation in ("capture", "void"):
        refused = problem(post(bob, f"/holds/{made['id']}/{operation}"), 409, "hold_not_open")
        assert refused["status_now"] == "expired"
    assert [each["id"] for each in _list(alice, status="expired")] == [made["id"]]
    assert _list(alice, status="open") == []


@pytest.mark.contract("8.4.1", "1.3.2")
def test_the_list_is_newest_first_and_filtered(api: Api) -> None:
    alice, bob, carol = api.user(1_000), api.user(1_000), api.user()
    made = [make_hold(alice, bob, n)["id"] for n in (1, 2, 3)]
    received = make_hold(bob, alice, 4)["id"]
    other = make_hold(alice, carol, 5)["id"]
    everything = [other, received, *reversed(made)]
    assert [each["id"] for each in _list(alice)] == everything
    assert [each["id"] for each in _list(alice, direction="received")] == [received]
    assert [each["id"] for each in _list(alice, counterparty_id=carol.account_id)] == [other]
    assert [each.id for each in alice.client.holds(limit=2)] == everything
    post(bob, f"/holds/{made[0]}/void")
    assert [each["id"] for each in _list(alice, status="voided")] == [made[0]]
    born = hold(alice.get(f"/holds/{made[2]}"))["created_at"]
    assert [each["id"] for each in _list(alice, created_to=born)] == [made[1], made[0]]
    for name, value in [("status", "pending"), ("cursor", "x"), ("limit", "0"), ("amount", "1")]:
        assert alice.get("/holds", **{name: value}).status == (400 if name == "cursor" else 422)


def _list(user: User, **filters: object) -> Any:
    return user.get("/holds", **filters).json()["data"]
