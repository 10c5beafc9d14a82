"""API keys: creation, use, networks, expiry, windows, and their end."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finpay import ids
from finpay.client import FinPay
from finpay.identity.api_keys import SCOPES, new_secret
from tests.api.assertions import invalid, problem
from tests.api.conftest import Strict
from tests.api.test_sessions import is_accepted
from tests.api_process import PASSWORD, Api, User

ALL = list(SCOPES)


def create(user: User, **members: Any) -> Any:
    body = {"name": "server", "scopes": ALL, "password": PASSWORD, **members}
    return user.client.request("POST", "/api/v1/api_keys", json=body)


def key_of(user: User, **members: Any) -> Any:
    answer = create(user, **members)
    assert answer.status == 201, answer.body
    return answer.json()


def asked(api: Api, secret: str, path: str = "/accounts", method: str = "GET", **more: Any) -> Any:
    client = api.client(access_token=secret)
    return client.request(method, f"/api/v1{path}", **more)


@pytest.mark.contract("1.6.7")
def test_a_new_key_shows_its_secret_once(api: Api) -> None:
    user = api.user()
    answer = create(user, scopes=["events:read", "account:read"], expires_at="2099-01-01T00:00:00Z")
    made = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert list(made) == [
        "id", "object", "secret", "name", "scopes", "allowed_cidrs", "prefix", "last_used_at",
        "expires_at", "created_at",
    ]  # fmt: skip
    assert (made["object"], made["name"], made["last_used_at"]) == ("api_key", "server", None)
    assert made["scopes"] == ["account:read", "events:read"]
    assert made["expires_at"] == "2099-01-01T00:00:00.000000Z"
    assert made["secret"].startswith(made["prefix"])
    assert len(made["prefix"]) == 12
    (shown,) = user.get("/api_keys").json()["data"]
    assert shown == {**made, "secret": None}
    stored = api.sql("SELECT string_agg(k::text, ' ') AS all FROM identity.api_keys k")
    assert made["secret"] not in stored[0]["all"]


@pytest.mark.contract("1.6.7")
def test_creation_needs_the_password(api: Api) -> None:
    user = api.user()
    problem(create(user, password="wrong"), 401, "invalid_credentials")
    assert user.get("/api_keys").json()["data"] == []
    rows = api.sql("SELECT action FROM audit.log WHERE subject_id = $1 ORDER BY id", user.uuid)
    assert rows[-1]["action"] == "login.failed"


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"name": ""}, "#/name"),
        ({"name": "a\u200bb"}, "#/name"),
        ({"name": "x" * 101}, "#/name"),
        ({"scopes": []}, "#/scopes"),
        ({"scopes": ["account:read", "account:read"]}, "#/scopes"),
        ({"scopes": ["admin"]}, "#/scopes/0"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "#/expires_at"),
        ({"expires_at": "tomorrow"}, "#/expires_at"),
        ({"allowed_cidrs": ["192.0.2.1/24"]}, "#/allowed_cidrs/0"),
        ({"allowed_cidrs": ["192.0.2.0/24", "x"]}, "#/allowed_cidrs/1"),
        ({"allowed_cidrs": ["2001:db8::/96"]}, "#/allowed_cidrs/0"),
        ({"allowed_cidrs": ["10.0.0.0/8"] * 21}, "#/allowed_cidrs"),
    ],
)
def test_invalid_members_are_named(api: Api, members: dict[str, Any], pointer: str) -> None:
    invalid(create(api.user(), **members), pointer)


@pytest.mark.contract("1.6.7")
def test_a_user_has_at_most_50_keys(api: Api) -> None:
    user = api.user()
    api.sql(
        "INSERT INTO identity.api_keys"
        " (id, user_id, secret_hash, prefix, name, scopes, allowed_cidrs)"
        " SELECT gen_random_uuid(), $1, sha256(n::text::bytea || $2), 'fpk_', 'n', '{a}', '{}'"
        " FROM generate_series(1, 49) n",
        user.uuid,
        user.uuid.bytes,
    )
    made = key_of(user)
    assert create(user).status == 422
    user.client.delete_api_key(made["id"])
    assert create(user).status == 201


@pytest.mark.contract("1.6.8")
def test_a_key_moves_money_as_its_user(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    client = api.client(api_key=key_of(alice)["secret"])
    sent = client.send(amount=10, receiver_id=bob.account_id)
    assert sent.sender_id == alice.account_id
    assert client.account().balance == 990
    assert client.me().id == alice.user_id
    (shown,) = alice.get("/api_keys").json()["data"]
    assert shown["last_used_at"] is not None


@pytest.mark.contract("1.6.8")
def test_what_is_no_active_key_is_refused(api: Api) -> None:
    user = api.user()
    secret = key_of(user, expires_at="2099-01-01T00:00:00Z")["secret"]
    assert asked(api, secret).status == 200
    for text in (secret[:-1], secret + "x", secret[:-1] + "~", "fpk_", new_secret()):
        answer = asked(api, text)
        problem(answer, 401, "unauthenticated")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.contract("1.6.8")
def test_an_expired_key_is_refused(api: Api) -> None:
    user = api.user()
    made = key_of(user)
    api.sql(
        "UPDATE identity.api_keys SET expires_at = clock_timestamp() WHERE id = $1",
        ids.decode("key", made["id"]),
    )
    problem(asked(api, made["secret"]), 401, "unauthenticated")


@pytest.mark.contract("1.6.8")
def test_a_key_that_was_just_used_expires_in_time(api: Api) -> None:
    """Not after the minute for which its use is remembered."""
    ends = datetime.now(UTC) + timedelta(seconds=3)
    secret = key_of(api.user(), expires_at=ends.isoformat())["secret"]
    assert asked(api, secret).status == 200
    time.sleep((ends - datetime.now(UTC)).total_seconds())
    problem(asked(api, secret), 401, "unauthenticated")


@pytest.mark.contract("1.6.8")
def test_a_key_works_from_its_networks_only(strict: Strict) -> None:
    user = strict.user()
    secret = key_of(user, allowed_cidrs=["198.51.100.0/24", "2001:db8:1::/48"])["secret"]
    for address, status in (
        ("198.51.100.7", 200), ("198.51.101.7", 401), ("2001:db8:1:2::3", 200),
        ("2001:db8:2::1", 401), ("::ffff:198.51.100.9", 200),
    ):  # fmt: skip
        answer = asked(strict.api, secret, headers={"X-Forwarded-For": address})
        assert answer.status == status, address


@pytest.mark.contract("1.6.9")
def test_a_refusal_for_its_scope_leaves_the_idempotency_key_free(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    reader = key_of(alice, scopes=["account:read"])["secret"]
    body = {"receiver_id": bob.account_id, "amount": 1}
    headers = {"X-Idempotency-Key": "k"}
    answer = asked(api, reader, "/transactions", "POST", json=body, headers=headers)
    problem(answer, 403, "insufficient_scope")
    assert alice.send(bob, 1, "k").status == 201


@pytest.mark.contract("1.6.7", "1.6.3")
def test_the_end_of_a_key_holds_on_every_process(strict: Strict) -> None:
    user, server = strict.user(), strict.api
    made, other = key_of(user), key_of(user)
    assert is_accepted(server, made["secret"])
    user.client.delete_api_key(made["id"])
    assert not is_accepted(server, made["secret"])
    strict.redis.flushall()
    assert not is_accepted(server, made["secret"])
    assert is_accepted(server, other["secret"])
    assert is_accepted(server, user.token)
    strict.redis.flushall()
    answer = user.client.request("DELETE", f"/api/v1/api_keys/{made['id']}")
    problem(answer, 404, "not_found")


def test_keys_of_others_are_not_found(api: Api) -> None:
    alice, bob = api.user(), api.user()
    made = key_of(bob)
    for key_id in (made["id"], ids.encode("key", ids.new_uuid()), "x"):
        answer = alice.client.request("DELETE", f"/api/v1/api_keys/{key_id}")
        problem(answer, 404, "not_found")
    assert asked(api, made["secret"]).status == 200
    assert alice.get("/api_keys").json()["data"] == []


def test_a_password_change_ends_no_key(api: Api) -> None:
    user = api.user()
    secret = key_of(user)["secret"]
    user.client.change_password(PASSWORD, "another long password")
    assert asked(api, secret).status == 200


@pytest.mark.contract("1.7.1")
def test_each_key_has_a_window_of_its_own(strict: Strict) -> None:
    """Neither the user's requests nor those of another key count in it."""
    user, server = strict.user(), strict.api
    one, two = (key_of(user)["secret"] for _ in range(2))
    for left in (999, 998):
        answer = asked(server, one)
        assert answer.headers["RateLimit-Policy"] == '"key";q=1000;w=60'
        assert answer.headers["RateLimit"].startswith(f'"key";r={left};t=')
    assert asked(server, two).headers["RateLimit"].startswith('"key";r=999;')
    assert '"global"' in user.get("/accounts").headers["RateLimit"]


@pytest.mark.contract("1.6.8")
def test_unknown_keys_count_in_the_tier_of_logins(strict: Strict, address: str) -> None:
    server, secret = strict.api, key_of(strict.user())["secret"]
    headers = {"X-Forwarded-For": address}
    assert is_accepted(server, secret)
    for _ in range(4):
        problem(asked(server, new_secret(), headers=headers), 401, "unauthenticated")
    members = problem(asked(server, new_secret(), headers=headers), 429, "rate_limited")
    assert members["policy"] == "auth_address"
    assert asked(server, secret, headers=headers).status == 200, "known keys go on"


@pytest.mark.contract("1.4.3", "1.6.9")
def test_a_used_up_window_is_answered_before_a_missing_scope(api: Api, serve: Any) -> None:
    narrow = serve(FINPAY_RATE_LIMIT_KEY="2/60")
    secret = key_of(api.user(), scopes=["events:read"])["secret"]
    for _ in range(2):
        problem(asked(narrow, secret), 403, "insufficient_scope")
    assert problem(asked(narrow, secret), 429, "rate_limited")["policy"] == "key"


def test_pages_of_keys(api: Api) -> None:
    user = api.user()
    made = [key_of(user)["id"] for _ in range(5)]
    client: FinPay = user.client
    assert [key.id for key in client.api_keys(limit=2)] == made[::-1]


def test_the_ledger_proves_itself_with_keys(api: Api) -> None:
    user = api.user()
    user.client.delete_api_key(key_of(user)["id"])
    api.verify()
