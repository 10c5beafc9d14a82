"""GET /idempotency_keys: what a key stands for, for a client whose answer was lost."""

from typing import Any, Final

import pytest
from redis import Redis

from finpay.gate import redis_keys
from tests.api.assertions import invalid, problem, replays, transaction
from tests.api.test_holds import make_hold, post
from tests.api_process import Api, User

MEMBERS: Final = [
    "object", "key", "http_status", "content_type", "body", "transaction_id", "created_at",
]  # fmt: skip


def look_up(user: User, key: str) -> Any:
    return user.get("/idempotency_keys", key=key)


def stored(answer: Any) -> Any:
    """The members of a stored answer, all of them, in order."""
    assert answer.status == 200, answer.body
    members = answer.json()
    assert list(members) == MEMBERS
    assert members["object"] == "idempotency_key"
    return members


@pytest.mark.contract("7.7.1")
def test_a_key_has_the_stored_answer_byte_for_byte(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    sent = alice.send(bob, 10, "a key")  # no valid key: it has a space
    problem(sent, 400, "idempotency_key_invalid")
    sent = alice.send(bob, 10, "key+&%7e/1", metadata={"text": "\u00e9 \U0001f600"})
    found = stored(look_up(alice, "key+&%7e/1"))
    assert (found["key"], found["http_status"]) == ("key+&%7e/1", 201)
    assert found["content_type"] == "application/json"
    assert found["body"].encode() == sent.body
    made = transaction(sent, 201)
    assert (found["transaction_id"], found["created_at"]) == (made["id"], made["created_at"])
    replays(sent, alice.send(bob, 10, "key+&%7e/1", metadata={"text": "\u00e9 \U0001f600"}))


@pytest.mark.contract("7.1.3", "7.7.1")
def test_a_key_of_a_refusal_or_of_an_operation_without_a_transaction(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    refused = alice.send(bob, 1_000, "poor")
    found = stored(look_up(alice, "poor"))
    assert found["http_status"] == 402
    assert found["content_type"] == "application/problem+json"
    assert found["body"].encode() == refused.body
    assert found["transaction_id"] == refused.json()["transaction_id"]
    held = post(alice, "/holds", "hold", receiver_id=bob.account_id, amount=10)
    found = stored(look_up(alice, "hold"))
    assert (found["body"].encode(), found["transaction_id"]) == (held.body, None)
    hold_id = make_hold(alice, bob, 10)["id"]
    captured = post(bob, f"/holds/{hold_id}/capture", "capture")
    assert stored(look_up(bob, "capture"))["transaction_id"] == captured.json()["id"]
    problem(look_up(alice, "capture"), 404, "not_found")


@pytest.mark.contract("7.7.1")
def test_a_key_is_its_owners_alone_and_a_key_without_an_answer_is_unknown(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    alice.send(bob, 1, "mine")
    problem(look_up(bob, "mine"), 404, "not_found")
    invalid_body = post(alice, "/transactions", "not-stored", amount=0)
    invalid(invalid_body, "#/amount")
    problem(look_up(alice, "not-stored"), 404, "not_found")
    invalid(alice.get("/idempotency_keys"), "key", kind="parameter")
    invalid(look_up(alice, ""), "key", kind="parameter")
    invalid(look_up(alice, "x" * 256), "key", kind="parameter")
    invalid(look_up(alice, "a b"), "key", kind="parameter")


@pytest.mark.contract("7.7.2")
def test_a_claimed_key_is_in_progress(api: Api, redis_url: str) -> None:
    alice = api.user(100)
    with Redis.from_url(redis_url) as redis:
        name = redis_keys.idempotency_key(alice.user_id, "claimed")
        redis.set(name, "Canother-request", px=10_000)
        answer = look_up(alice, "claimed")
        problem(answer, 409, "request_in_progress")
        assert answer.headers["Retry-After"] == "1"
        redis.delete(name)
    problem(look_up(alice, "claimed"), 404, "not_found")
