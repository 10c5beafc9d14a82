"""The routes of e-mail addresses, passwords and the second factor, and every kind of caller.

Each is sent a valid request. Other routes: tests/api/test_authorisation_matrix.py.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import pytest

from finpay.edge.router import API, Route
from finpay.edge.routes import ROUTES
from finpay.identity.api_keys import SCOPES
from tests.api.second_factors import Guarded, code_at, guarded
from tests.api.test_api_keys import key_of
from tests.api_process import PASSWORD, Api, User

_NUMBERS: Final = count(1)
NEW_PASSWORD: Final = "a better horse battery"

CALLERS: Final = ("no token", "user", "key", "full key", "ended session", "frozen user")
SESSION: Final = dict(zip(CALLERS, (401, 200, 403, 403, 401, 200), strict=True))
EVERY_CALLER: Final = dict.fromkeys(CALLERS, 204)

# The status for each kind of caller, and for another user who sends what belongs to the first.
ROWS: Final[dict[str, dict[str, int]]] = {
    "POST /auth/second_factor": {**SESSION, "other user": 401},
    "POST /auth/second_factor/confirm": {**SESSION, "other user": 401},
    "POST /auth/second_factor/disable": {
        **SESSION, "user": 204, "frozen user": 204, "other user": 401,
    },
    "POST /auth/email/verification": {
        **SESSION, "user": 202, "frozen user": 202, "other user": 202,
    },
    # The secret in the body decides, and a token is ignored.
    "POST /auth/email/verify": {**EVERY_CALLER, "other user": 204},
    "POST /auth/password/reset": {**EVERY_CALLER, "other user": 204},
    "POST /auth/password/forgot": {**dict.fromkeys(CALLERS, 202), "other user": 202},
    "POST /auth/login/second_factor": {**dict.fromkeys(CALLERS, 200), "other user": 200},
}  # fmt: skip
ROUTE: Final = {f"{route.method} {route.path.removeprefix(API)}": route for route in ROUTES}


def token_for(api: Api, user: User, kind: str) -> str:
    """As the worker does when it sends a mail."""
    token = f"matrix-{next(_NUMBERS)}-{user.user_id}"
    api.sql(
        "INSERT INTO mail.tokens (hash, user_id, kind, expires_at)"
        " VALUES ($1, $2, $3, clock_timestamp() + interval '30 minutes')",
        hashlib.sha256(token.encode()).digest(),
        user.uuid,
        kind,
    )
    return token


@dataclass
class Case:
    """A user with what the route needs, the body of a valid request, and a session."""

    user: User
    body: dict[str, Any] | None


def plain(api: Api) -> Case:
    return Case(api.user(), {"password": PASSWORD})


def unconfirmed(api: Api) -> Case:
    user = api.user()
    secret = user.post("/auth/second_factor", password=PASSWORD).json()["secret"]
    return Case(user, {"code": code_at(secret)})


def with_factor(api: Api) -> Case:
    alice: Guarded = guarded(api)
    return Case(alice.user, {"password": PASSWORD, "code": alice.recovery_codes[0]})


def waiting(api: Api) -> Case:
    alice = guarded(api)
    return Case(alice.user, {"challenge": alice.challenge(), "code": alice.recovery_codes[0]})


def unverified(api: Api) -> Case:
    return Case(api.user(), None)


def verifying(api: Api) -> Case:
    user = api.user()
    return Case(user, {"token": token_for(api, user, "email_verification")})


def forgetful(api: Api) -> Case:
    user = api.user()
    return Case(user, {"email": user.email})


def resetting(api: Api) -> Case:
    user = api.user()
    token = token_for(api, user, "password_reset")
    return Case(user, {"token": token, "new_password": NEW_PASSWORD})


CASES: Final[dict[str, Callable[[Api], Case]]] = {
    "POST /auth/second_factor": plain,
    "POST /auth/second_factor/confirm": unconfirmed,
    "POST /auth/second_factor/disable": with_factor,
    "POST /auth/login/second_factor": waiting,
    "POST /auth/email/verification": unverified,
    "POST /auth/email/verify": verifying,
    "POST /auth/password/forgot": forgetful,
    "POST /auth/password/reset": resetting,
}


def credential(api: Api, case: Case, caller: str) -> str | None:
    """What the caller sends as Authorization: Bearer."""
    if caller == "no token":
        return None
    if caller in {"key", "full key"}:
        return planted_key(api, case.user, full=caller == "full key")
    if caller == "ended session":
        token = case.user.token
        case.user.client.logout()
        return token
    if caller == "frozen user":
        api.set_status(case.user, "frozen")
    return case.user.token


def planted_key(api: Api, user: User, *, full: bool) -> str:
    """A key of the user, made before a second factor would ask for a code."""
    maker = api.user()
    made = key_of(maker, scopes=list(SCOPES) if full else ["account:read"])
    api.sql("UPDATE identity.api_keys SET user_id = $2 WHERE user_id = $1", maker.uuid, user.uuid)
    secret: str = made["secret"]
    return secret


def ask(api: Api, route: Route, token: str | None, body: dict[str, Any] | None) -> Any:
    return api.client(access_token=token).request(route.method, route.path, json=body)


def test_every_route_of_these_has_a_row() -> None:
    parts = ("second_factor", "/email/", "/password/")
    of_users = [name for name in ROUTE if "/operator/" not in name]
    assert set(ROWS) == set(CASES) == {name for name in of_users if any(p in name for p in parts)}


@pytest.mark.contract("1.6.1", "1.6.9", "12.7.1", "12.6.1")
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", ROWS)
def test_the_caller_gets_the_status_of_the_row(api: Api, name: str, caller: str) -> None:
    case = CASES[name](api)
    token = credential(api, case, caller)
    answer = ask(api, ROUTE[name], token, case.body)
    assert answer.status == ROWS[name][caller], answer.body


@pytest.mark.contract("12.7.1", "12.6.1")
@pytest.mark.parametrize("name", ROWS)
def test_another_user_can_do_nothing_with_what_is_not_theirs(api: Api, name: str) -> None:
    """Passwords and codes are compared with those of the caller."""
    case, other = CASES[name](api), guarded(api).user
    if name == "POST /auth/second_factor/confirm":
        other = unconfirmed(api).user
    elif name == "POST /auth/second_factor":
        case.body = {"password": "of another user"}
    answer = ask(api, ROUTE[name], other.token, case.body)
    assert answer.status == ROWS[name]["other user"], answer.body
