"""The routes of a forgotten password. The mail itself: tests/delivery/test_mail.py."""

import hashlib
from typing import Any, Final

import pytest

from tests.api.assertions import invalid, problem
from tests.api.conftest import Strict
from tests.api.matrix import ENDPOINT
from tests.api.test_sessions import is_accepted
from tests.api_process import PASSWORD, Api, User

TOKEN = "t" * 43
NEW = "a better horse battery"


def forgot(api: Api, email: str) -> Any:
    return api.client().request("POST", "/api/v1/auth/password/forgot", json={"email": email})


def reset(api: Api, token: str, password: str = NEW) -> Any:
    body = {"token": token, "new_password": password}
    return api.client().request("POST", "/api/v1/auth/password/reset", json=body)


def give_token(api: Api, user: User) -> None:
    """As the worker does when it sends the mail."""
    api.sql(
        "INSERT INTO mail.tokens (hash, user_id, kind, expires_at)"
        " VALUES ($1, $2, 'password_reset', clock_timestamp() + interval '30 minutes')"
        " ON CONFLICT (hash) DO UPDATE SET user_id = excluded.user_id, used_at = NULL",
        hashlib.sha256(TOKEN.encode()).digest(),
        user.uuid,
    )


@pytest.mark.contract("1.6.11")
def test_the_answer_is_the_same_for_every_address(api: Api) -> None:
    for email in (api.user().email, "nobody-at-all@example.com"):
        answer = forgot(api, email)
        assert (answer.status, answer.body) == (202, b"")
    invalid(forgot(api, "no address"), "#/email")


@pytest.mark.contract("1.6.11", "1.6.3")
def test_a_reset_ends_every_session_on_every_process(strict: Strict) -> None:
    user = strict.user()
    other = strict.another_login(user)
    assert is_accepted(strict.api, other.token)
    give_token(strict.made_by, user)
    assert reset(strict.made_by, TOKEN).status == 204
    problem(reset(strict.made_by, TOKEN), 401, "token_invalid")
    strict.redis.flushall()
    for token in (user.token, other.token):
        assert not is_accepted(strict.api, token)
    body = {"email": user.email, "password": NEW}
    answer = strict.made_by.client().request("POST", "/api/v1/auth/login", json=body)
    assert answer.status == 200


def test_a_weak_password_is_named_and_leaves_the_token(api: Api) -> None:
    user = api.user()
    give_token(api, user)
    invalid(reset(api, TOKEN, user.email), "#/new_password")
    assert reset(api, TOKEN).status == 204
    answer = reset(api, "x")
    problem(answer, 401, "token_invalid")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


SCHEDULE: Final[dict[str, Any]] = {
    "amount": 5,
    "start_at": "2031-01-01T00:00:00Z",
    "every": {"unit": "month", "count": 1},
}


def set_up_access(user: User, receiver: User) -> str:
    """An API key, an endpoint and a schedule; the key's secret."""
    key = user.post("/api_keys", name="shop", scopes=["account:read"], password=PASSWORD)
    endpoint = user.post("/webhook_endpoints", None, **ENDPOINT)
    schedule = user.post("/schedules", "rent", receiver_id=receiver.account_id, **SCHEDULE)
    assert {key.status, endpoint.status, schedule.status} == {201}
    return str(key.json()["secret"])


def what_is_left(api: Api, user: User) -> dict[str, int]:
    """API keys, endpoints and schedules that still have an effect."""
    login = {"email": user.email, "password": NEW}
    token = api.client().request("POST", "/api/v1/auth/login", json=login).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    def data(path: str) -> list[dict[str, Any]]:
        answer = api.client().request("GET", f"/api/v1/{path}", headers=headers)
        return list(answer.json()["data"])

    schedules = [each for each in data("schedules") if each["status"] != "ended"]
    return {
        "api_keys": len(data("api_keys")),
        "webhook_endpoints": len(data("webhook_endpoints")),
        "schedules": len(schedules),
    }


@pytest.mark.contract("1.6.11")
def test_first_proof_of_an_address_ends_what_was_set_up_before_it(api: Api) -> None:
    """Who registered the address may not be its owner: their API key must not outlive the reset."""
    squatter, receiver = api.user(), api.user()
    secret = set_up_access(squatter, receiver)
    assert is_accepted(api, secret)
    give_token(api, squatter)
    assert reset(api, TOKEN).status == 204
    assert not is_accepted(api, secret)
    assert set(what_is_left(api, squatter).values()) == {0}
    actions = api.sql(
        "SELECT action FROM audit.log WHERE request_id = (SELECT request_id FROM audit.log"
        " WHERE action = 'password.reset' AND subject_id = $1) ORDER BY action",
        squatter.uuid,
    )
    assert {"api_key.revoked", "schedule.ended"} < {row["action"] for row in actions}


@pytest.mark.contract("1.6.11")
def test_reset_with_a_verified_address_leaves_keys_endpoints_and_schedules(api: Api) -> None:
    owner, receiver = api.user(), api.user()
    secret = set_up_access(owner, receiver)
    api.sql(
        "UPDATE identity.users SET email_verified_at = clock_timestamp() WHERE id = $1", owner.uuid
    )
    give_token(api, owner)
    assert reset(api, TOKEN).status == 204
    assert is_accepted(api, secret)
    assert set(what_is_left(api, owner).values()) == {1}
