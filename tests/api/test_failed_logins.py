"""Wrong passwords and codes count as failed logins wherever they are sent; logins alone clear.

The limits of `strict`: 4 requests in 600 s without a token from an address, 20 failed logins.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import pytest

from tests.api.assertions import problem
from tests.api.conftest import Strict
from tests.api.rate_limit_headers import left_of
from tests.api.second_factors import Guarded, guarded, wrong_code
from tests.api_process import PASSWORD, User

_ADDRESSES: Final = count(1)
KEY: Final[dict[str, Any]] = {"name": "server", "scopes": ["account:read"]}


@pytest.fixture
def alice(strict: Strict) -> Guarded:
    """Known at no address: her sessions are of another API."""
    made = guarded(strict.made_by)
    made.user = strict.logged_in_here(made.user)
    return made


def somewhere(strict: Strict) -> Callable[..., Any]:
    """Posts from an address that has sent nothing before."""
    number = next(_ADDRESSES)
    return strict.from_address(f"198.51.{number // 250}.{number % 250 + 1}")


def failures_left(strict: Strict, email: str) -> int:
    """After one more wrong login."""
    answer = somewhere(strict)("/auth/login", email=email, password="wrong")
    return left_of(answer)["auth_email"] + 1


def wrong_requests(alice: Guarded) -> Iterator[Any]:
    """One wrong password or code on each route that takes one in a session."""
    user, code = alice.user, wrong_code(alice.secret)
    yield user.post("/auth/password", current_password="wrong", new_password="another horse")
    yield user.post("/auth/second_factor", password="wrong")
    yield user.post("/auth/second_factor/disable", password="wrong", code=code)
    yield user.post("/auth/second_factor/disable", password=PASSWORD, code=code)
    yield user.post("/api_keys", **KEY, password="wrong")
    yield user.post("/api_keys", **KEY, password=PASSWORD, code=code)


@pytest.mark.contract("12.7.8")
def test_wrong_passwords_and_codes_in_a_session_count(strict: Strict, alice: Guarded) -> None:
    for number, answer in enumerate(wrong_requests(alice), 1):
        assert answer.status == 401, answer.body
        left = failures_left(strict, alice.user.email)
        assert left == 20 - 2 * number + 1, (number, answer.body)


@pytest.mark.contract("12.7.8")
def test_a_wrong_code_of_a_login_counts(strict: Strict, alice: Guarded) -> None:
    challenge = somewhere(strict)("/auth/login", email=alice.user.email, password=PASSWORD)
    body = {"challenge": challenge.json()["challenge"], "code": wrong_code(alice.secret)}
    problem(somewhere(strict)("/auth/login/second_factor", **body), 401, "second_factor_invalid")
    assert failures_left(strict, alice.user.email) == 18  # the step before it counts too


@pytest.mark.contract("12.7.8")
def test_only_a_completed_login_clears(strict: Strict, alice: Guarded) -> None:
    email = alice.user.email
    for _ in range(3):
        failures_left(strict, email)
    ask = somewhere(strict)
    challenge = ask("/auth/login", email=email, password=PASSWORD).json()["challenge"]
    assert alice.user.post("/api_keys", **KEY, password=PASSWORD, code=alice.code()).status == 201
    assert failures_left(strict, email) == 16
    done = ask("/auth/login/second_factor", challenge=challenge, code=alice.code())
    assert done.status == 200
    assert failures_left(strict, email) == 20


def exhaust(strict: Strict, email: str) -> None:
    for _ in range(20):
        assert somewhere(strict)("/auth/login", email=email, password="wrong").status == 401


@pytest.mark.contract("12.7.8")
def test_over_the_limit_not_even_the_right_ones_are_compared(
    strict: Strict, alice: Guarded
) -> None:
    challenge = alice.challenge()
    exhaust(strict, alice.user.email)
    answers = [
        *wrong_requests(alice),
        alice.user.post("/api_keys", **KEY, password=PASSWORD, code=alice.code()),
        somewhere(strict)("/auth/login/second_factor", challenge=challenge, code=alice.code()),
    ]
    for answer in answers:
        assert problem(answer, 429, "rate_limited")["policy"] == "auth_email"


def from_here(user: User, address: str, path: str, **body: object) -> Any:
    headers = {"X-Forwarded-For": address}
    return user.client.request("POST", f"/api/v1{path}", json=body, headers=headers)


@pytest.mark.contract("12.7.8")
def test_failures_from_elsewhere_do_not_stop_the_owner_at_a_known_address(strict: Strict) -> None:
    user, home = strict.user(), "203.0.113.77"
    ask = strict.from_address(home)
    assert ask("/auth/login", email=user.email, password=PASSWORD).status == 200
    exhaust(strict, user.email)
    body: dict[str, Any] = {**KEY, "password": PASSWORD}
    assert from_here(user, home, "/api_keys", **body).status == 201
    refused = from_here(user, "203.0.113.78", "/api_keys", **body)
    assert problem(refused, 429, "rate_limited")["policy"] == "auth_email"
