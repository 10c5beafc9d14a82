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
from tests.api.conftest import GRACE_S, Strict
from tests.api_process import PASSWORD, Api, User

CONNECTIONS: Final = 16  # all in one of two processes: probability 2^-15


def refresh(api: Api, token: str | None) -> Any:
    return api.client().request("POST", "/api/v1/auth/refresh", json={"refresh_token": token})


def age(api: Api, token: str | None, seconds: float) -> None:
    """Moves the times of a refresh token into the past, as if that much time had passed."""
    api.sql(
        "UPDATE identity.refresh_tokens SET expires_at = expires_at - make_interval(secs => $2),"
        " rotated_at = rotated_at - make_interval(secs => $2) WHERE hash = $1",
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
    def test_accepts_an_old_token_within_the_grace(self, api: Api) -> None:
        """Two tabs, or a lost answer: both pairs are valid and stay valid."""
        old = api.user().client.refresh_token
        first = refresh(api, old).json()
        age(api, old, 29)
        second = refresh(api, old)
        assert second.status == 200
        assert second.json()["refresh_token"] != first["refresh_token"]
        for pair in (first, second.json()):
            assert is_accepted(api, pair["access_token"])
            assert refresh(api, pair["refresh_token"]).status == 200

    @pytest.mark.contract("1.6.2")
    def test_using_the_grace_does_not_prolong_it(self, api: Api) -> None:
        old = api.user().client.refresh_token
        refresh(api, old)
        for _ in range(2):
            age(api, old, 14)
            assert refresh(api, old).status == 200
        age(api, old, 3)
        problem(refresh(api, old), 401, "refresh_token_reused")

    @pytest.mark.contract("1.6.2")
    def test_an_old_token_after_the_grace_ends_the_session(self, api: Api) -> None:
        """Each access and refresh token of the session; other sessions of the user stay active."""
        alice = api.user()
        other = api.client()
        other.login(alice.email, PASSWORD)
        old = alice.client.refresh_token
        pair = refresh(api, old).json()
        assert is_accepted(api, pair["access_token"])
        age(api, old, 31)
        reused = refresh(api, old)
        problem(reused, 401, "refresh_token_reused")
        assert reused.headers["WWW-Authenticate"].startswith("Bearer ")
        assert not is_accepted(api, pair["access_token"])
        assert not is_accepted(api, alice.token)
        problem(refresh(api, pair["refresh_token"]), 401, "refresh_token_invalid")
        assert other.me().email == alice.email
        other.refresh()

    def test_the_grace_is_a_setting(self, strict: Strict, server: Api) -> None:
        alice = strict.made_by.user()
        old = alice.client.refresh_token
        refresh(server, old)
        age(server, old, GRACE_S - 1)
        assert refresh(server, old).status == 200
        age(server, old, 2)
        assert is_accepted(server, alice.token)
        problem(refresh(server, old), 401, "refresh_token_reused")
        assert not is_accepted(server, alice.token)

    def test_ten_concurrent_refreshes_all_get_a_valid_pair(
        self, server: Api, strict: Strict
    ) -> None:
        token = strict.made_by.user().client.refresh_token
        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(lambda _: refresh(server, token), range(10)))
        assert [answer.status for answer in answers] == [200] * 10
        pairs = [answer.json() for answer in answers]
        assert len({pair["refresh_token"] for pair in pairs}) == 10
        for pair in pairs:
            assert is_accepted(strict.made_by, pair["access_token"])
            assert refresh(strict.made_by, pair["refresh_token"]).status == 200

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
        assert (answer.status, answer.body) == (204, b"")
        assert not any(is_accepted(server, other.token) for other in others)
        assert is_accepted(server, alice.token)
        strict.redis.flushall()
        assert not any(is_accepted(server, other.token) for other in others)
        assert is_accepted(server, alice.token)

    def test_only_the_new_password_logs_in(self, api: Api) -> None:
        alice = api.user()
        assert change_password(alice, PASSWORD, "a new long password").status == 204
        for password, status in ((PASSWORD, 401), ("a new long password", 200)):
            body = {"email": alice.email, "password": password}
            assert api.client().request("POST", "/api/v1/auth/login", json=body).status == status
        alice.client.refresh()

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
        assert sorted(answer.status for answer in answers) == [204, 401]
        stored = new_passwords[[answer.status for answer in answers].index(204)]
        api.client().login(alice.email, stored)
