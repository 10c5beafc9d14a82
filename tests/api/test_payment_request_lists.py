"""Lists of payment requests, splits, keys and rate limits."""

from typing import Any

import pytest

from finpay.edge.schemas.payment_requests import shares
from tests.api.assertions import invalid
from tests.api.conftest import Strict
from tests.api.test_payment_requests import ask
from tests.api_process import Api, User
from tests.backdating import end_time


@pytest.fixture
def alice(api: Api) -> User:
    return api.user(name="Alice")


@pytest.fixture
def bob(api: Api) -> User:
    return api.user(1_000)


def listed(user: User, **filters: Any) -> list[str]:
    """The ids of all pages, of one or two each."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = user.get("/payment_requests", limit=2, **filters, **cursor)
        assert answer.status == 200, answer.body
        page = answer.json()
        found += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            return found
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.contract("11.1.12")
def test_lists_are_newest_first_by_direction_and_status(api: Api, alice: User, bob: User) -> None:
    sent = [ask(alice, payer_email=bob.email)["id"] for _ in range(3)]
    received = [ask(bob, payer_email=alice.email)["id"] for _ in range(3)]
    alice.post(f"/payment_requests/{sent[1]}/cancel")
    alice.post(f"/payment_requests/{received[0]}/decline")
    assert listed(alice) == [*received[::-1], *sent[::-1]]
    assert listed(alice, direction="sent") == sent[::-1]
    assert listed(bob, direction="sent") == received[::-1]
    assert listed(alice, status="canceled") == [sent[1]]
    assert listed(alice, status="open") == [received[2], received[1], sent[2], sent[0]]
    assert listed(alice, status="declined", direction="sent") == []
    assert listed(alice, status="declined", direction="received") == [received[0]]
    end_time(api.database_url, sent[0])
    assert sent[0] not in listed(alice, status="open")
    assert {one["status"] for one in alice.get("/payment_requests").json()["data"]} == {
        "open", "declined", "canceled", "expired",
    }  # fmt: skip


@pytest.mark.contract("11.1.12")
def test_bad_filters_and_cursors_are_refused(alice: User, bob: User) -> None:
    for name, value, status in (
        ("direction", "mine", 422), ("status", "done", 422), ("limit", "0", 422),
        ("cursor", "AAAA", 400), ("payer", "x", 422),
    ):  # fmt: skip
        assert alice.get("/payment_requests", **{name: value}).status == status


@pytest.mark.contract("11.1.11")
@pytest.mark.parametrize(
    ("amount", "number", "expected"),
    [(100, 3, [34, 33, 33]), (101, 3, [34, 34, 33]), (99, 3, [33, 33, 33]), (3, 3, [1, 1, 1]),
     (2**53 - 1, 2, [2**52, 2**52 - 1])],
)  # fmt: skip
def test_shares_differ_by_at_most_one_and_larger_ones_come_first(
    amount: int, number: int, expected: list[int]
) -> None:
    assert shares(amount, number) == expected
    assert sum(expected) == amount


@pytest.mark.contract("11.1.11")
@pytest.mark.parametrize(("include_me", "expected"), [(False, [51, 50]), (True, [34, 34])])
def test_a_split_asks_each_payer_for_a_share(
    api: Api, alice: User, bob: User, *, include_me: bool, expected: list[int]
) -> None:
    emails = ["first@example.com", bob.email]
    answer = alice.post(
        "/payment_requests/split", amount=101, payer_emails=emails, include_me=include_me,
        description="Dinner", metadata={"table": "4"}, expires_in=60,
    )  # fmt: skip
    assert answer.status == 201, answer.body
    page = answer.json()
    assert {name: page[name] for name in page if name != "data"} == {
        "object": "list", "has_more": False, "next_cursor": None,
    }  # fmt: skip
    listed = [(one["payer_email"], one["amount"], one["description"]) for one in page["data"]]
    assert listed == [(e, a, "Dinner") for e, a in zip(emails, expected, strict=True)]
    for one in page["data"]:
        assert alice.get(f"/payment_requests/{one['id']}").json() == one
    api.verify()


@pytest.mark.contract("11.1.11")
def test_a_split_that_makes_no_sense_is_refused_as_a_whole(alice: User, bob: User) -> None:
    one, two = "one@example.com", "two@example.com"
    for members in (
        {"amount": 100, "payer_emails": [one]},
        {"amount": 100, "payer_emails": [one, one.upper()]},
        {"amount": 100, "payer_emails": [one, alice.email]},
        {"amount": 100, "payer_emails": [f"{n}@example.com" for n in range(51)]},
        {"amount": 1, "payer_emails": [one, two]},
        {"amount": 2, "payer_emails": [one, two], "include_me": True},
    ):
        answer = alice.client.request("POST", "/api/v1/payment_requests/split", json=members)
        assert (answer.status, answer.json()["code"]) == (422, "validation_failed")
    assert listed(alice) == []


@pytest.mark.contract("11.1.11", "11.1.8")
def test_a_split_beyond_the_limit_of_one_payer_makes_nothing(alice: User, bob: User) -> None:
    for _ in range(100):
        ask(alice, payer_email=bob.email)
    answer = alice.post(
        "/payment_requests/split", amount=10, payer_emails=["new@example.com", bob.email]
    )
    assert answer.status == 422
    assert len(listed(alice)) == 100


@pytest.mark.contract("11.2.8")
def test_a_key_makes_one_request_and_none_makes_many(api: Api, alice: User, bob: User) -> None:
    first, repeated = (alice.post("/payment_requests", key="k", amount=5) for _ in range(2))
    assert (first.status, first.body) == (repeated.status, repeated.body)
    assert repeated.headers["idempotent-replayed"] == "true"
    reused = alice.post("/payment_requests", key="k", amount=6)
    assert (reused.status, reused.json()["code"]) == (422, "idempotency_key_reuse")
    refused, repeated = (
        alice.post("/payment_requests", key="usd", amount=5, currency="USD") for _ in range(2)
    )
    assert (refused.status, refused.body) == (422, repeated.body)
    members: dict[str, Any] = {"amount": 5, "payer_emails": ["a@example.com", "b@example.com"]}
    split = [alice.post("/payment_requests/split", key="s", **members).body for _ in range(2)]
    assert split[0] == split[1]
    assert len(listed(alice)) == 3
    for _ in range(2):
        alice.post("/payment_requests", amount=5)
    assert len(listed(alice)) == 5
    bad = alice.post("/payment_requests", key="not valid", amount=5)
    assert (bad.status, bad.json()["code"]) == (400, "idempotency_key_invalid")
    api.verify()


@pytest.mark.contract("11.1.13")
def test_requests_count_like_transfers_and_the_rest_does_not(strict: Strict) -> None:
    user = strict.user(1_000)

    def left(answer: Any) -> dict[str, int]:
        parts = (part.split(";") for part in answer.headers["ratelimit"].split(", "))
        return {name.strip('"'): int(r.removeprefix("r=")) for name, r, _ in parts}

    asked = user.post("/payment_requests", amount=5)
    assert left(asked) == {"global": 99, "transaction": 19}
    members = {"amount": 50, "payer_emails": [f"{n}@example.com" for n in range(5)]}
    split = user.client.request("POST", "/api/v1/payment_requests/split", json=members)
    assert left(split) == {"global": 98, "transaction": 14}
    path = f"/payment_requests/{asked.json()['id']}"
    assert left(user.post(f"{path}/pay", key="k")) == {"global": 97, "transaction": 13}
    assert left(user.post(f"{path}/cancel")) == {"global": 96}
    members["payer_emails"] = [f"{n}@example.com" for n in range(14)]
    limited = user.client.request("POST", "/api/v1/payment_requests/split", json=members)
    assert (limited.status, limited.json()["policy"]) == (429, "transaction")
    members["payer_emails"] = [f"{n}@example.com" for n in range(21)]
    never = user.client.request("POST", "/api/v1/payment_requests/split", json=members)
    invalid(never, "#/payer_emails")
