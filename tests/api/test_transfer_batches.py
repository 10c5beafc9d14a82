"""POST /transactions/batch: many transfers under one key, independent or atomic."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from redis import Redis

from finpay.client import HttpResponse
from tests.api.assertions import (
    PROBLEM_MEMBERS,
    TRANSACTION_MEMBERS,
    UNKNOWN_ACCOUNT,
    problem,
    replays,
)
from tests.api.conftest import Strict
from tests.api.rate_limit_headers import parse_report
from tests.api_process import Api, User

BATCH: Final = "/api/v1/transactions/batch"


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user()


def send(user: User, key: str, *items: Any, mode: str = "independent", **more: Any) -> HttpResponse:
    body = {"mode": mode, "transactions": list(items), **more}
    answer: HttpResponse = user.client.request(
        "POST", BATCH, json=body, headers={"X-Idempotency-Key": key}
    )
    return answer


def to(receiver: User, amount: int, **more: Any) -> dict[str, Any]:
    return {"receiver_id": receiver.account_id, "amount": amount, **more}


def listed(user: User, key: str) -> list[str]:
    page = user.get("/transactions", idempotency_key=key, limit=100).json()
    return [step["id"] for step in reversed(page["data"])]


def data_of(answer: HttpResponse, status: int = 200) -> list[Any]:
    """The items of an answer, after checks of all that the contract says of batches."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    members = answer.json()
    assert list(members) == ["object", "data"]
    assert members["object"] == "batch"
    for index, item in enumerate(members["data"]):
        assert list(item) == ["index", "status", "transaction", "error"]
        assert item["index"] == index
        if item["status"] == "completed":
            assert item["error"] is None
            assert list(item["transaction"]) == TRANSACTION_MEMBERS
        else:
            assert (item["status"], item["transaction"]) == ("failed", None)
            assert item["error"].keys() - {"transaction_id"} == PROBLEM_MEMBERS
            assert item["error"]["request_id"] == answer.headers["X-Request-Id"]
            assert item["error"]["errors"][0]["pointer"] == f"#/transactions/{index}"
    data: list[Any] = members["data"]
    return data


@pytest.mark.contract("5.1.2", "5.1.3")
def test_each_item_is_answered_like_a_single_transfer(api: Api, bob: User) -> None:
    alice, carol = api.user(1_000), api.user()
    items = [
        to(bob, 600, description="50 % »off«", metadata={"order": "7"}),
        to(carol, 600),
        {"receiver_email": carol.email, "amount": 400, "currency": "ZAR"},
        {"receiver_id": UNKNOWN_ACCOUNT, "amount": 1},
        to(alice, 1),
    ]
    data = data_of(send(alice, "each", *items))
    codes = [item["error"] and item["error"]["code"] for item in data]
    assert codes == [None, "insufficient_funds", None, "receiver_not_found", "same_account"]
    assert [item["error"]["status"] for item in data if item["error"]] == [402, 404, 422]
    assert (alice.balance, carol.balance) == (0, 400)
    done = [item["transaction"] for item in data if item["transaction"]]
    assert [transaction["balance_after"] for transaction in done] == [400, 0]
    for transaction in done:
        assert alice.get(f"/transactions/{transaction['id']}").json() == transaction
    failed = data[1]["error"]["transaction_id"]
    assert alice.get(f"/transactions/{failed}").json()["failure_code"] == "insufficient_funds"
    assert "transaction_id" not in data[3]["error"]
    assert listed(alice, "each") == [done[0]["id"], failed, done[1]["id"]]
    assert carol.get("/transactions").json()["data"][0]["id"] == done[1]["id"]


def test_every_item_may_fail(api: Api, bob: User) -> None:
    alice = api.user()
    answer = send(alice, "all fail", to(bob, 1), {"receiver_id": UNKNOWN_ACCOUNT, "amount": 1})
    problem(answer, 400, "idempotency_key_invalid")
    data = data_of(
        send(alice, "all-fail", to(bob, 1), {"receiver_id": UNKNOWN_ACCOUNT, "amount": 1})
    )
    assert [item["status"] for item in data] == ["failed", "failed"]
    assert listed(alice, "all-fail") == [data[0]["error"]["transaction_id"]]


@pytest.mark.contract("5.1.4")
def test_an_atomic_batch_completes_all_items(api: Api, bob: User) -> None:
    alice = api.user(100)
    data = data_of(send(alice, "whole", to(bob, 60), to(bob, 40), mode="atomic"), 201)
    assert [item["status"] for item in data] == ["completed", "completed"]
    assert alice.balance == 0
    assert listed(alice, "whole") == [item["transaction"]["id"] for item in data]


@pytest.mark.contract("5.1.4")
@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [({"amount": 99}, 402, "insufficient_funds"), ({"receiver_id": UNKNOWN_ACCOUNT}, 404, None)],
)
def test_an_atomic_batch_is_refused_with_the_error_of_its_first_failed_item(
    api: Api, bob: User, bad: dict[str, Any], status: int, code: str | None
) -> None:
    alice = api.user(100)
    items = [to(bob, 50), to(bob, 1), to(bob, 1), to(bob, 1) | bad, to(alice, 1)]
    first = send(alice, "refused", *items, mode="atomic")
    members = first.json()
    assert (first.status, members["status"]) == (status, status)
    assert first.headers["Content-Type"] == "application/problem+json"
    assert members["code"] == (code or "receiver_not_found")
    assert members["transaction_id"] is None
    assert [error["pointer"] for error in members["errors"]] == ["#/transactions/3"]
    assert alice.balance == 100
    assert alice.get("/transactions", direction="sent").json()["data"] == []
    assert listed(alice, "refused") == []
    api.fund(alice, 1_000)
    replays(first, send(alice, "refused", *items, mode="atomic"))


@pytest.mark.contract("5.1.3")
@pytest.mark.parametrize("mode", ["independent", "atomic"])
@pytest.mark.parametrize("size", [2, 400], ids=["small", "too big for Redis"])
def test_a_batch_is_replayed_byte_for_byte(  # noqa: PLR0917
    api: Api, bob: User, serve: Callable[..., Api], redis_url: str, mode: str, size: int
) -> None:
    alice = api.user(1_000)
    items = [to(bob, 1) for _ in range(size)]
    first = send(alice, "again", *items, mode=mode)
    data_of(first, 201 if mode == "atomic" else 200)
    replays(first, send(alice, "again", *items, mode=mode))
    with Redis.from_url(redis_url) as valkey:
        valkey.flushall()
    replays(first, send(alice, "again", *items, mode=mode))
    other = serve().client(access_token=alice.token)
    alice_elsewhere = User(other, alice.email, alice.user_id, alice.account_id)
    replays(first, send(alice_elsewhere, "again", *items, mode=mode))
    problem(send(alice, "again", *items[1:], mode=mode), 422, "idempotency_key_reuse")
    problem(alice.send(bob, 1, "again"), 422, "idempotency_key_reuse")
    assert alice.balance == 1_000 - size


INVALID: Final = [
    ({}, "#/mode"),
    ({"mode": "some"}, "#/mode"),
    ({"mode": "atomic", "transactions": []}, "#/transactions"),
    ({"mode": "atomic", "transactions": [{"amount": 1}] * 1_001}, "#/transactions"),
    ({"transactions": [{"amount": 1}]}, "#/mode"),
    ({"mode": "atomic", "more": 1}, "#/more"),
]
INVALID_ITEMS: Final = [
    ({"amount": 0}, "/amount"),
    ({"amount": "1"}, "/amount"),
    ({"receiver_id": "acc_1"}, "/receiver_id"),
    ({"receiver_email": "bob@example.com"}, ""),
    ({"currency": "XXZ"}, "/currency"),
    ({"metadata": {"k" * 41: "v"}}, "/metadata"),
    ({"metadata": {"k": 1}}, "/metadata"),
    ({"key": "k"}, "/key"),
    ({"description": "a\u0000"}, "/description"),
]


@pytest.mark.contract("5.1.1")
@pytest.mark.parametrize(("changes", "pointer"), INVALID)
def test_an_invalid_batch_is_refused(
    api: Api, bob: User, changes: dict[str, Any], pointer: str
) -> None:
    if "transactions" not in changes and "mode" in changes:
        changes = {**changes, "transactions": [to(bob, 1)]}
    headers = {"X-Idempotency-Key": "invalid"}
    answer = bob.client.request("POST", BATCH, json=changes, headers=headers)
    assert problem(answer, 422, "validation_failed")["errors"][0]["pointer"] == pointer


@pytest.mark.contract("5.1.1")
@pytest.mark.parametrize(("changes", "pointer"), INVALID_ITEMS)
def test_an_invalid_item_refuses_the_whole_batch(
    api: Api, bob: User, changes: dict[str, Any], pointer: str
) -> None:
    alice = api.user(100)
    items = [to(bob, 1), to(bob, 1), to(bob, 1), to(bob, 1) | changes]
    answer = send(alice, "invalid", *items)
    members = problem(answer, 422, "validation_failed")
    assert members["errors"][0]["pointer"] == f"#/transactions/3{pointer}"
    assert alice.balance == 100
    data_of(send(alice, "invalid", to(bob, 1)))  # the key is still free


@pytest.mark.contract("5.1.1")
def test_a_batch_may_be_one_mebibyte(api: Api, bob: User) -> None:
    alice = api.user(10_000)
    item = to(bob, 1, metadata={"k": "v" * 900})
    body = json.dumps({"mode": "atomic", "transactions": [item] * 1_000}).encode()
    body += b" " * (2**20 - len(body))

    def answer_to(content: bytes, key: str) -> HttpResponse:
        headers = {"X-Idempotency-Key": key, "Content-Type": "application/json"}
        answer: HttpResponse = alice.client.request("POST", BATCH, content=content, headers=headers)
        return answer

    problem(answer_to(body + b" ", "big"), 413, "body_too_large")
    assert len(data_of(answer_to(body, "big"), 201)) == 1_000
    assert alice.balance == 9_000
    single = alice.client.request(
        "POST",
        "/api/v1/transactions",
        content=b" " * (2**16 + 1),
        headers={"X-Idempotency-Key": "b"},
    )
    problem(single, 413, "body_too_large")


def test_sender_and_receivers_read_a_batch_at_once(api: Api) -> None:
    alice, receivers = api.user(1_000), [api.user() for _ in range(5)]
    for user in (alice, *receivers):
        assert user.get("/transactions").status == 200  # cached from here on
    for number in range(3):
        send(alice, f"read-{number}", *(to(receiver, 10) for receiver in receivers * 2))
        assert alice.balance == 1_000 - (number + 1) * 100
        assert [receiver.balance for receiver in receivers] == [(number + 1) * 20] * 5


def test_concurrent_batches_and_transfers_keep_the_total(api: Api) -> None:
    users = [api.user(1_000) for _ in range(4)]

    def work(number: int) -> int:
        sender, others = users[number % 4], [u for u in users if u is not users[number % 4]]
        if number % 3 == 0:
            return int(sender.send(others[number % 3], number + 1, f"single-{number}").status)
        items = [to(others[(number + at) % 3], at * number % 97 + 1) for at in range(9)]
        mode = "atomic" if number % 2 else "independent"
        return send(sender, f"batch-{number}", *items, mode=mode).status

    with ThreadPoolExecutor(16) as threads:
        statuses = set(threads.map(work, range(96)))
    assert statuses <= {200, 201, 402}
    assert 200 in statuses
    assert sum(user.balance for user in users) == 4_000
    api.verify()


def left_of(answer: HttpResponse) -> dict[str, int]:
    return {name: tier.left for name, tier in parse_report(answer).items()}


@pytest.mark.contract("5.1.5")
def test_a_batch_counts_once_globally_and_each_item_as_a_transfer(strict: Strict) -> None:
    alice, bob = strict.user(100), strict.made_by.user()
    five, sixteen = [to(bob, 1)] * 5, [to(bob, 1)] * 16
    assert left_of(send(alice, "five", *five)) == {"global": 99, "transaction": 15}
    replayed = send(alice, "five", *five)
    assert "Idempotent-Replayed" in replayed.headers
    assert left_of(replayed) == {"global": 98, "transaction": 10}
    refused = send(alice, "sixteen", *sixteen)
    assert problem(refused, 429, "rate_limited")["policy"] == "transaction"
    assert left_of(refused) == {"global": 98, "transaction": 10}
    invalid = send(alice, "invalid", *five, to(bob, 0))
    problem(invalid, 422, "validation_failed")
    assert left_of(invalid) == {"global": 97, "transaction": 9}
    over = send(alice, "over", *[to(bob, 1)] * 21)
    members = problem(over, 422, "validation_failed")
    assert members["errors"][0]["pointer"] == "#/transactions"
    assert left_of(over) == {"global": 96, "transaction": 8}
    assert left_of(send(alice, "eight", *[to(bob, 1)] * 8)) == {"global": 95, "transaction": 0}
    problem(send(alice, "one", to(bob, 1)), 429, "rate_limited")
    assert alice.balance == 100 - 13
