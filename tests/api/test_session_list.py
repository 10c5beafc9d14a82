"""The list of a user's sessions, and ending them from there."""

from typing import Any

import pytest

from finpay import ids
from tests.api.assertions import problem
from tests.api.conftest import Strict
from tests.api.test_sessions import age, is_accepted
from tests.api_process import PASSWORD, Api, User

AGENT = "Phone/1.0 (finpay)"


def login(api: Api, user: User, **headers: str) -> Any:
    body = {"email": user.email, "password": PASSWORD}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.client().request("POST", "/api/v1/auth/login", json=body, headers=named).json()


def listed(user: User) -> list[Any]:
    answer = user.get("/auth/sessions")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return list(answer.json()["data"])


@pytest.mark.contract("1.6.6")
def test_list_has_every_active_session_newest_first(api: Api) -> None:
    user = api.user()
    login(api, user, User_Agent=AGENT)
    login(api, user, User_Agent="x" * 300)
    newest, phone, first = listed(user)
    assert list(phone) == [
        "id", "object", "device", "address", "created_at", "last_seen_at", "expires_at", "current",
    ]  # fmt: skip
    assert (phone["device"], phone["object"], phone["address"]) == (AGENT, "session", "127.0.0.1")
    assert [each["current"] for each in (newest, phone, first)] == [False, False, True]
    assert newest["device"] == "x" * 200
    assert phone["expires_at"][:10] > phone["created_at"][:10]


@pytest.mark.contract("1.6.6")
def test_ended_and_expired_sessions_are_not_listed(api: Api) -> None:
    user = api.user()
    old, ended = login(api, user), login(api, user)
    age(api, old["refresh_token"], 91 * 86_400)
    client = api.client(access_token=ended["access_token"])
    client.logout()
    assert [each["current"] for each in listed(user)] == [True]


def test_list_has_pages(api: Api) -> None:
    user = api.user()
    for _ in range(4):
        login(api, user)
    page = user.get("/auth/sessions", limit=2).json()
    rest = user.get("/auth/sessions", limit=3, cursor=page["next_cursor"]).json()
    found = [each["id"] for each in page["data"] + rest["data"]]
    assert found == [each["id"] for each in listed(user)]
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert [each.id for each in user.client.sessions(limit=2)] == found


@pytest.mark.contract("1.6.3", "1.6.6")
def test_a_session_ends_on_every_process_at_once(strict: Strict) -> None:
    user = strict.user()
    other = strict.another_login(user)
    assert is_accepted(strict.api, other.token)
    (session,) = [each for each in listed(user) if not each["current"]]
    user.client.end_session(session["id"])
    assert not is_accepted(strict.api, other.token)
    assert is_accepted(strict.api, user.token)
    strict.redis.flushall()
    assert not is_accepted(strict.api, other.token)
    ended = user.client.request("DELETE", f"/api/v1/auth/sessions/{session['id']}")
    problem(ended, 404, "not_found")


@pytest.mark.contract("1.6.6")
def test_all_other_sessions_end_together(strict: Strict) -> None:
    user = strict.user()
    others = [strict.another_login(user) for _ in range(3)]
    assert all(is_accepted(strict.api, other.token) for other in others)
    user.client.end_other_sessions()
    assert not any(is_accepted(strict.api, other.token) for other in others)
    assert [each["current"] for each in listed(user)] == [True]
    events = user.get("/events", type="session.revoked").json()["data"]
    assert [event["data"]["object"]["reason"] for event in events] == ["revoked"] * 3
    user.client.end_other_sessions()


@pytest.mark.contract("1.6.6")
def test_sessions_of_others_are_not_found(api: Api) -> None:
    alice, bob = api.user(), api.user()
    (session,) = listed(bob)
    for session_id in (session["id"], ids.encode("ses", ids.new_uuid()), alice.user_id, "x"):
        answer = alice.client.request("DELETE", f"/api/v1/auth/sessions/{session_id}")
        problem(answer, 404, "not_found")
    assert is_accepted(api, bob.token)


def test_own_session_may_end_itself(api: Api) -> None:
    user = api.user()
    (session,) = listed(user)
    user.client.end_session(session["id"])
    assert not is_accepted(api, user.token)


def test_last_seen_is_the_time_of_the_last_refresh(api: Api) -> None:
    user = api.user()
    (before,) = listed(user)
    user.client.refresh()
    (after,) = listed(user)
    assert after["last_seen_at"] > before["last_seen_at"] >= before["created_at"]
