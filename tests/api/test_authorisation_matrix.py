"""Every route and every kind of caller: who gets in, and how the others are refused.

The rows are the routes themselves, so a new route is tested as soon as it is in the table.
"""

from typing import Any, Final

import pytest

from finpay.edge.router import API, Route
from finpay.edge.routes import ROUTES
from finpay.identity.api_keys import SCOPES
from tests.api.assertions import problem
from tests.api.test_api_keys import key_of
from tests.api_process import Api, User

ROWS: Final = [route for route in ROUTES if route.access == "authenticated"]
REFUSED: Final = {401, 403}


@pytest.fixture(scope="module")
def user(api: Api) -> User:
    return api.user()


@pytest.fixture(scope="module")
def keys(user: User) -> dict[str, str]:
    """A key for each scope, with that scope alone."""
    return {scope: key_of(user, scopes=[scope])["secret"] for scope in SCOPES}


def asked(api: Api, route: Route, token: str | None) -> Any:
    path = route.path.replace("{id}", "x")
    return api.client(access_token=token).request(route.method, path)


def _name(route: Route) -> str:
    return f"{route.method} {route.path.removeprefix(API)}"


@pytest.mark.parametrize("route", ROWS, ids=_name)
@pytest.mark.contract("1.6.1")
def test_no_route_is_open_without_a_token(api: Api, route: Route) -> None:
    problem(asked(api, route, None), 401, "unauthenticated")


@pytest.mark.parametrize("route", ROWS, ids=_name)
@pytest.mark.contract("1.6.1")
def test_an_ended_session_is_refused(api: Api, route: Route) -> None:
    ended = api.user()
    token = ended.token
    ended.client.logout()
    problem(asked(api, route, token), 401, "unauthenticated")


@pytest.mark.parametrize(
    "route", [route for route in ROWS if not route.path.startswith(f"{API}/auth/logout")], ids=_name
)
@pytest.mark.contract("1.6.1")
def test_a_session_gets_in(api: Api, user: User, route: Route) -> None:
    assert asked(api, route, user.token).status not in REFUSED


@pytest.mark.parametrize("route", ROWS, ids=_name)
@pytest.mark.contract("1.6.9")
def test_a_key_needs_the_scope_of_the_route(api: Api, keys: dict[str, str], route: Route) -> None:
    for scope, secret in keys.items():
        answer = asked(api, route, secret)
        if route.scope is None:
            problem(answer, 403, "forbidden")
        elif route.scope in {scope, "any"}:
            assert answer.status not in REFUSED, (scope, answer.body)
        else:
            assert problem(answer, 403, "insufficient_scope")["scope"] == route.scope


def test_routes_of_sessions_and_keys_are_for_sessions_alone() -> None:
    """A key that could make keys, or end sessions, would be worth as much as the password."""
    for route in ROWS:
        inside = route.path.removeprefix(f"{API}/")
        of_sessions = inside.startswith(("auth/", "api_keys", "operator")) and inside != "auth/me"
        if of_sessions or (route.method, inside) == ("PATCH", "accounts"):
            assert route.scope is None, route.path
        else:
            assert route.scope is not None, route.path
