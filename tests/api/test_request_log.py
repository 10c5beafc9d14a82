"""The request log: the caller's own requests, without bodies, about a second later."""

import time
from typing import Any

import pytest

from finpay import ids
from finpay.identity import request_log
from finpay.identity.request_log import MAX_KEPT
from tests.api.assertions import problem
from tests.api.test_api_keys import key_of
from tests.api_process import Api, User
from tests.support.waiting import wait_until


@pytest.fixture
def alice(api: Api) -> User:
    return api.user(100)


def logged(user: User, **wanted: object) -> list[dict[str, Any]]:
    """Entries with these members, once there is one."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        rows = user.get("/requests", limit=100).json()["data"]
        found[:] = [row for row in rows if wanted.items() <= row.items()]
        return bool(found)

    wait_until(look, 10)
    return found


@pytest.mark.contract("12.6.1")
def test_each_request_is_logged(api: Api, alice: User) -> None:
    sent = alice.send(api.user(), 1, "k", description="a secret of ours")
    (row,) = logged(alice, id=sent.headers["X-Request-Id"])
    session = alice.get("/auth/sessions").json()["data"][0]["id"]
    assert row | {"duration_ms": 0, "created_at": ""} == {
        "id": sent.headers["X-Request-Id"], "object": "request",
        "request_id": sent.headers["X-Request-Id"], "method": "POST",
        "route": "/api/v1/transactions", "status": 201, "code": None, "duration_ms": 0,
        "session_id": session, "api_key_id": None, "created_at": "",
    }  # fmt: skip
    assert 0 <= row["duration_ms"] < 5_000
    assert alice.get(f"/requests/{row['id']}").json() == row


@pytest.mark.contract("12.6.1")
def test_failures_keys_and_own_request_ids_are_logged(api: Api, alice: User) -> None:
    key = key_of(alice, scopes=["transactions:read"])
    client = api.client(access_token=key["secret"])
    client.request("GET", "/api/v1/transactions/x", headers={"X-Request-Id": "my-own-1"})
    (row,) = logged(alice, request_id="my-own-1")
    assert (row["status"], row["code"]) == (404, "not_found")
    assert (row["api_key_id"], row["session_id"]) == (key["id"], None)
    assert row["route"] == "/api/v1/transactions/{id}"
    assert client.request("GET", f"/api/v1/requests/{row['id']}").status == 200


@pytest.mark.contract("12.6.1")
def test_requests_of_others_are_404(api: Api, alice: User) -> None:
    sent = alice.get("/accounts")
    (row,) = logged(alice, id=sent.headers["X-Request-Id"])
    bob = api.user()
    for target in (row["id"], "x", ids.encode("req", ids.new_uuid())):
        problem(bob.get(f"/requests/{target}"), 404, "not_found")
    assert row["id"] not in {each["id"] for each in bob.get("/requests").json()["data"]}


@pytest.mark.contract("12.6.1")
def test_pages_are_newest_first(alice: User) -> None:
    asked = [alice.get("/auth/me").headers["X-Request-Id"] for _ in range(5)]
    logged(alice, id=asked[-1])
    first = alice.get("/requests", limit=3).json()
    second = alice.get("/requests", limit=100, cursor=first["next_cursor"]).json()
    seen = [row["id"] for row in first["data"] + second["data"]]
    assert seen == sorted(set(seen), reverse=True)
    assert [each for each in seen if each in asked] == asked[::-1]


@pytest.mark.contract("12.6.2")
def test_a_busy_process_logs_a_sample(api: Api, alice: User) -> None:
    """The same second never has more; failures have a share of their own."""
    began_s = time.monotonic()
    for _ in range(3 * MAX_KEPT):
        alice.get("/auth/me")
    failed = alice.get("/transactions/x").headers["X-Request-Id"]
    took_s = time.monotonic() - began_s
    logged(alice, id=failed)
    rows = alice.get("/requests", limit=100).json()["data"]
    most = (2 + took_s) * MAX_KEPT
    assert len([row for row in rows if row["status"] == 200]) <= most


@pytest.mark.contract("12.6.1")
def test_requests_are_kept_for_seven_days(api: Api, alice: User) -> None:
    old, young = (alice.get("/auth/me").headers["X-Request-Id"] for _ in range(2))
    logged(alice, id=young)
    statement = (
        "UPDATE identity.requests SET created_at = now() - interval '7 days 1 second'"
        " WHERE request_id = $1"
    )
    api.owner(lambda database: database.execute(statement, old))
    assert api.owner(request_log.prune) == 1
    problem(alice.get(f"/requests/{old}"), 404, "not_found")
    assert alice.get(f"/requests/{young}").status == 200
