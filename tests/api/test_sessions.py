"""Sessions: refresh, logout, password change, and reuse of a refresh token."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx
import pytest

from finpay import ids
from tests.api.assertions import invalid, problem
from tests.api.conftest import Strict
from tests.api_process import PASSWORD, Api, User

CONNECTIONS: Final = 16  # all in one of two processes: probability 2^-15


def refresh(api: Api, token: str | None, address: str | None = None) -> Any:
    """`address`: of the client, as a proxy says it."""
    headers = None if address is None else {"X-Forwarded-For": address}
    body = {"refresh_token": token}
    return api.client().request("POST", "/api/v1/auth/refresh", json=body, headers=headers)


def age(api: Api, token: str | None, seconds: float) -> None:
    """As if everything of the session of this refresh token had happened that much earlier."""
    for table, key, columns in (
        ("sessions", "id", ("created_at", "expires_at")),
        ("refresh_tokens", "session_id", ("created_at", "expires_at", "successor_used_at")),
    ):
        moved = ", ".join(f"{name} = {name} - make_interval(secs => $2)" for name in columns)
        api.sql(
            f"UPDATE identity.{table} SET {moved} WHERE {key} ="
            " (SELECT session_id FROM identity.refresh_tokens WHERE hash = $1)",
            hashlib.sha256(str(token).encode()).digest(),
            seconds,
        )


def is_accepted(api: Api, access_token: str) -> bool:
    """Whether the token is accepted, by enough requests to reach every process."""
    headers = {"Authorization": f"Bearer {access_token}", "Connection": "close"}
    with httpx.Client(trust_env=False, verify=False) as http:  # noqa: S501  loopback
        answers = [
            http.get(f"{api.url}/api/v1/auth/me", headers=headers) for _ in range(CONNECTIONS)
        ]
    statuses = {answer.status_code for answer in answers}
    assert statuses in ({200}, {401}), statuses
    return statuses == {200}


def change_password(user: User, current: str, new: str) -> Any:
    body = {"current_password": current, "new_password": new}
    return user.client.request("POST", "/api/v1/auth/password", json=body)


def logout(user: User) -> Any:
    return user.client.request("POST", "/api/v1/auth/logout")


@pytest.fixture
def alice(strict: Strict) -> User:
    return strict.user()


@pytest.fixture
def server(strict: Strict) -> Iterator[Api]:
    """An API of two processes; a session that ends in one has ended in both."""
    yield strict.api
    strict.redis.flushall()


class TestRefresh:
    @pytest.mark.contract("1.2.3")
    def test_gives_a_new_working_pair(self, api: Api) -> None:
        alice = api.user()
        old = alice.client.refresh_token
        answer = refresh(api, old)
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        pair = answer.json()
        assert list(pair) == ["access_token", "token_type", "expires_in", "refresh_token"]
        assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 900)
        assert pair["refresh_token"] != old
        assert is_accepted(api, pair["access_token"])
        assert is_accepted(api, alice.token)
        assert refresh(api, pair["refresh_token"]).status == 200

    @pytest.mark.contract("1.6.2")
    def test_returns_the_same_successor_of_an_old_token_until_it_is_used(self, api: Api) -> None:
        """A lost response: the same successor, and another access token of it."""
        old = api.user().client.refresh_token
        first = refresh(api, old).json()
        age(api, old, 86_400)
        second = refresh(api, old).json()
        assert second["refresh_token"] == first["refresh_token"]
        assert is_accepted(api, first["access_token"])
        assert is_accepted(api, second["access_token"])
        age(api, old, 55)
        assert refresh(api, old).json()["refresh_token"] == first["refresh_token"]
        age(api, old, 6)
        problem(refresh(api, old), 401, "refresh_token_reused")

    @pytest.mark.contract("1.6.2", "1.6.3")
    def test_an_old_token_after_its_successor_ends_the_session(self, api: Api) -> None:
        """Each access and refresh token of the session; other sessions of the user stay active."""
        alice = api.user()
        other = api.client()
        other.login(alice.email, PASSWORD)
        old = alice.client.refresh_token
        pair = refresh(api, old).json()
        assert is_accepted(api, pair["access_token"])
        age(api, old, 61)
        assert is_accepted(api, alice.token)
        reused = refresh(api, old)
        problem(reused, 401, "refresh_token_reused")
        assert reused.headers["WWW-Authenticate"].startswith("Bearer ")
        assert not is_accepted(api, pair["access_token"])
        assert not is_accepted(api, alice.token)
        problem(refresh(api, pair["refresh_token"]), 401, "refresh_token_invalid")
        assert other.me().email == alice.email
        other.refresh()

    @pytest.mark.contract("1.6.2")
    @pytest.mark.parametrize("thief_is_first", [True, False])
    def test_a_copied_token_is_noticed(self, api: Api, *, thief_is_first: bool) -> None:
        """Both have the same token. The one who comes late ends the session of both."""
        alice = api.user()
        copied = alice.client.refresh_token
        pair = refresh(api, copied).json()
        assert is_accepted(api, pair["access_token"])
        age(api, copied, 61)
        assert is_accepted(api, pair["access_token"] if thief_is_first else alice.token)
        problem(refresh(api, copied), 401, "refresh_token_reused")
        problem(refresh(api, pair["refresh_token"]), 401, "refresh_token_invalid")
        assert not is_accepted(api, pair["access_token"])

    def test_ten_at_once_all_get_the_same_successor(self, server: Api, strict: Strict) -> None:
        token = strict.made_by.user().client.refresh_token
        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(lambda n: refresh(server, token, f"192.0.2.{n}"), range(10)))
        assert [answer.status for answer in answers] == [200] * 10
        pairs = [answer.json() for answer in answers]
        assert len({pair["refresh_token"] for pair in pairs}) == 1
        assert len({pair["access_token"] for pair in pairs}) == 10
        for pair in pairs:
            assert is_accepted(strict.made_by, pair["access_token"])
        assert refresh(strict.made_by, pairs[0]["refresh_token"]).status == 200

    def test_refuses_a_text_that_is_not_a_refresh_token(self, api: Api) -> None:
        alice = api.user()
        for token in ("x", alice.token, str(alice.client.refresh_token)[:-1], "\x7f", "é" * 99):
            answer = refresh(api, token)
            problem(answer, 401, "refresh_token_invalid")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        assert is_accepted(api, alice.token)

    @pytest.mark.contract("1.6.2")
    def test_refuses_an_expired_token(self, api: Api) -> None:
        """An unused token is valid for 30 days to the second."""
        token = api.user().client.refresh_token
        age(api, token, 2_592_000 - 20)
        assert refresh(api, token).status == 200
        age(api, token, 21)
        problem(refresh(api, token), 401, "refresh_token_invalid")

    @pytest.mark.contract("1.6.2")
    def test_a_session_ends_90_days_after_its_login(self, api: Api) -> None:
        pair = {"refresh_token": api.user().client.refresh_token}
        for _ in range(4):
            age(api, pair["refresh_token"], 20 * 86_400)
            pair = refresh(api, pair["refresh_token"]).json()
        age(api, pair["refresh_token"], 10 * 86_400 - 60)
        pair = refresh(api, pair["refresh_token"]).json()
        assert 30 < pair["expires_in"] <= 60
        age(api, pair["refresh_token"], 61)
        problem(refresh(api, pair["refresh_token"]), 401, "refresh_token_invalid")
        assert not is_accepted(api, pair["access_token"])

    @pytest.mark.parametrize("token", [None, "", 1, ["x"], "x" * 513, "nul\0"], ids=repr)
    def test_refuses_an_invalid_member(self, api: Api, token: Any) -> None:
        invalid(refresh(api, token), "#/refresh_token")


class TestLogout:
    @pytest.mark.contract("1.2.4")
    def test_ends_this_session_on_every_process_at_once(
        self, strict: Strict, server: Api, alice: User
    ) -> None:
        """Even on a process that had just seen the session active."""
        other = strict.another_login(alice)
        assert is_accepted(server, alice.token)
        answer = logout(alice)
        assert (answer.status, answer.body) == (204, b"")
        assert not is_accepted(server, alice.token)
        assert is_accepted(server, other.token)
        problem(refresh(server, alice.client.refresh_token), 401, "refresh_token_invalid")
        problem(logout(alice), 401, "unauthenticated")

    @pytest.mark.contract("1.6.3")
    def test_holds_after_a_flush_of_redis(self, strict: Strict, server: Api, alice: User) -> None:
        other = strict.another_login(alice)
        logout(alice)
        strict.redis.flushall()
        assert not is_accepted(server, alice.token)
        assert is_accepted(server, other.token)

    def test_ignores_a_body(self, alice: User) -> None:
        answer = alice.client.request("POST", "/api/v1/auth/logout", json={"everywhere": True})
        assert answer.status == 204

    def test_is_recorded_once(self, strict: Strict, alice: User) -> None:
        """One audit row and one event for concurrent logouts."""
        with ThreadPoolExecutor(8) as threads:
            statuses = {each.status for each in threads.map(lambda _: logout(alice), range(8))}
        assert statuses <= {204, 401}
        rows = strict.made_by.sql(
            "SELECT detail::text AS detail FROM audit.log"
            " WHERE actor_id = $1 AND action = 'session.revoked'",
            ids.decode("usr", alice.user_id),
        )
        assert [json.loads(row["detail"]) for row in rows] == [{"reason": "logout"}]


class TestPasswordChange:
    @pytest.mark.contract("1.2.5")
    def test_ends_the_other_sessions_on_every_process(
        self, strict: Strict, server: Api, alice: User
    ) -> None:
        others = [strict.another_login(alice) for _ in range(3)]
        assert all(is_accepted(server, other.token) for other in others)
        answer = change_password(alice, PASSWORD, "a new long password")
        assert answer.status == 200
        pair = answer.json()
        assert list(pair) == ["access_token", "token_type", "expires_in", "refresh_token"]
        problem(refresh(server, alice.client.refresh_token), 401, "refresh_token_invalid")
        assert is_accepted(server, pair["access_token"])
        assert not any(is_accepted(server, other.token) for other in others)
        assert is_accepted(server, alice.token)
        strict.redis.flushall()
        assert not any(is_accepted(server, other.token) for other in others)
        assert is_accepted(server, alice.token)

    def test_only_the_new_password_logs_in(self, api: Api) -> None:
        alice = api.user()
        assert change_password(alice, PASSWORD, "a new long password").status == 200
        for password, status in ((PASSWORD, 401), ("a new long password", 200)):
            body = {"email": alice.email, "password": password}
            assert api.client().request("POST", "/api/v1/auth/login", json=body).status == status

    @pytest.mark.contract("1.2.5")
    def test_needs_the_current_password(self, api: Api) -> None:
        alice, other = api.user(), api.client()
        other.login(alice.email, PASSWORD)
        for guess in ("wrong", f"{PASSWORD}x", "x" * 128):
            answer = change_password(alice, guess, "a new long password")
            problem(answer, 401, "invalid_credentials")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        assert other.me().email == alice.email
        api.client().login(alice.email, PASSWORD)

    @pytest.mark.parametrize("new", ["1234567", "x" * 129, "password123", "iloveyou", None, 1])
    def test_refuses_an_invalid_new_password(self, api: Api, new: Any) -> None:
        """Before the current one is verified."""
        invalid(change_password(api.user(), "wrong", new), "#/new_password")

    def test_of_two_concurrent_changes_one_succeeds(self, api: Api) -> None:
        """For the other one the current password is wrong by then, or its session has ended."""
        alice = api.user()
        new_passwords = ["first new password", "second new password"]
        with ThreadPoolExecutor(2) as threads:
            answers = list(
                threads.map(lambda new: change_password(alice, PASSWORD, new), new_passwords)
            )
        assert sorted(answer.status for answer in answers) == [200, 401]
        won = new_passwords[[answer.status for answer in answers].index(200)]
        api.client().login(alice.email, won)
