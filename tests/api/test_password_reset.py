"""The routes of a forgotten password. The mail itself: tests/delivery/test_mail.py."""

import hashlib
from typing import Any

import pytest

from tests.api.assertions import invalid, problem
from tests.api.conftest import Strict
from tests.api.test_sessions import is_accepted
from tests.api_process import Api, User

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
