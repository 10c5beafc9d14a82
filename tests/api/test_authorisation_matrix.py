"""Every route and every kind of caller: who gets in, and how the others are refused.

The rows are the routes themselves, so a new route is tested as soon as it is in the table. What a
frozen user and another user may do with it stands in FROZEN and in the ids of matrix.py: a route
that has no row there fails the tests.
"""

from typing import Any, Final

import pytest

from finpay.edge.router import API, Route
from finpay.edge.routes import ROUTES
from finpay.identity.api_keys import SCOPES
from tests.api.assertions import problem
from tests.api.matrix import World, make_world, name_of
from tests.api.operators import auditor, operator
from tests.api.test_api_keys import key_of
from tests.api_process import PASSWORD, Api, User

ROWS: Final = [route for route in ROUTES if route.access == "authenticated"]
OF_USERS: Final = [route for route in ROWS if not route.roles]
OF_OPERATORS: Final = [route for route in ROWS if route.roles]
CHANGES: Final = [route for route in OF_USERS if route.method != "GET"]
REFUSED: Final = {401, 403}

# What a frozen user may change (the status), and what is 403 account_frozen: all that moves,
# reserves or asks for money. Everything may be read.
FROZEN: Final[dict[str, int]] = {
    "POST /auth/logout": 204,
    "POST /auth/password": 422,  # the old password again
    "DELETE /auth/sessions": 204,
    "DELETE /auth/sessions/{id}": 204,
    "PATCH /auth/me": 200,
    "POST /auth/second_factor": 200,
    "POST /auth/second_factor/confirm": 401,  # a wrong code
    "POST /auth/second_factor/disable": 422,  # it is off
    "POST /auth/email/verification": 202,
    "POST /api_keys": 201,
    "DELETE /api_keys/{id}": 204,
    "PATCH /accounts": 200,
    "POST /accounts/close": 403,
    "POST /transactions": 403,
    "POST /transactions/batch": 403,
    "POST /transactions/{id}/refunds": 403,
    "POST /holds": 403,
    "POST /holds/{id}/capture": 403,
    "POST /holds/{id}/void": 200,
    "POST /withdrawals": 403,
    "POST /withdrawals/{id}/cancel": 200,
    "POST /payment_requests": 403,
    "POST /payment_requests/split": 403,
    "POST /payment_requests/{id}/pay": 403,
    "POST /payment_requests/{id}/cancel": 200,
    "POST /payment_requests/{id}/decline": 200,
    "POST /schedules": 403,
    "POST /schedules/{id}/pause": 200,
    "POST /schedules/{id}/resume": 403,
    "POST /schedules/{id}/cancel": 200,
    "POST /webhook_endpoints": 201,
    "PATCH /webhook_endpoints/{id}": 200,
    "DELETE /webhook_endpoints/{id}": 204,
    "POST /webhook_endpoints/{id}/rotate_secret": 200,
    "POST /webhook_endpoints/{id}/test": 201,
    "POST /webhook_endpoints/{id}/replay": 200,
    "POST /deliveries/{id}/retry": 200,
}
# Other rows need what these end.
LAST: Final = frozenset({"POST /operator/transactions/{id}/refunds"})
SESSIONS_ALONE: Final = {("PATCH", "auth/me"), ("PATCH", "accounts"), ("POST", "accounts/close")}
ENDS_THE_SESSION: Final = frozenset(
    {"POST /auth/logout", "DELETE /auth/sessions", "DELETE /auth/sessions/{id}"}
)


def ordered(routes: list[Route], last: frozenset[str]) -> list[Route]:
    return sorted(routes, key=lambda route: name_of(route) in last)


@pytest.fixture(scope="module")
def user(api: Api) -> User:
    return api.user()


@pytest.fixture(scope="module")
def boss(api: Api) -> User:
    return operator(api)


@pytest.fixture(scope="module")
def reader(api: Api) -> User:
    return auditor(api)


@pytest.fixture(scope="module")
def world(api: Api) -> World:
    return make_world(api, operator(api))


@pytest.fixture(scope="module")
def untouched(api: Api) -> World:
    return make_world(api, operator(api))


@pytest.fixture(scope="module")
def frozen(api: Api) -> World:
    made = make_world(api, operator(api))
    api.set_status(made.owner, "frozen")
    return made


@pytest.fixture(scope="module")
def keys(user: User) -> dict[str, str]:
    """A key for each scope, with that scope alone."""
    return {scope: key_of(user, scopes=[scope])["secret"] for scope in SCOPES}


def asked(api: Api, route: Route, token: str | None) -> Any:
    path = route.path.replace("{id}", "x")
    return api.client(access_token=token).request(route.method, path)


@pytest.mark.parametrize("route", ROWS, ids=name_of)
@pytest.mark.contract("1.6.1")
def test_no_route_is_open_without_a_token(api: Api, route: Route) -> None:
    problem(asked(api, route, None), 401, "unauthenticated")


@pytest.mark.parametrize("route", ROWS, ids=name_of)
@pytest.mark.contract("1.6.1")
def test_an_ended_session_is_refused(api: Api, route: Route) -> None:
    ended = api.user()
    token = ended.token
    ended.client.logout()
    problem(asked(api, route, token), 401, "unauthenticated")


@pytest.mark.parametrize(
    "route",
    [route for route in OF_USERS if not route.path.startswith(f"{API}/auth/logout")],
    ids=name_of,
)
@pytest.mark.contract("1.6.1")
def test_a_session_gets_in(api: Api, user: User, boss: User, reader: User, route: Route) -> None:
    """Of a user without a role, and of one who has a role."""
    for caller in (user, boss, reader):
        assert asked(api, route, caller.token).status not in REFUSED


@pytest.mark.parametrize("route", OF_OPERATORS, ids=name_of)
@pytest.mark.contract("12.1.1")
def test_a_user_without_a_role_is_refused(user: User, world: World, route: Route) -> None:
    problem(world.ask(user, route), 403, "forbidden")
    problem(world.ask(world.owner, route), 403, "forbidden")


@pytest.mark.parametrize("route", OF_OPERATORS, ids=name_of)
@pytest.mark.contract("12.1.2")
def test_an_auditor_reads(reader: User, world: World, route: Route) -> None:
    answer = world.ask(reader, route, params=parameters(route))
    if route.method == "GET":
        assert answer.status == 200, answer.body
    else:
        problem(answer, 403, "forbidden")


@pytest.mark.parametrize("route", ordered(OF_OPERATORS, LAST), ids=name_of)
@pytest.mark.contract("12.1.1")
def test_an_operator_gets_in(boss: User, world: World, route: Route) -> None:
    answer = world.ask(boss, route, params=parameters(route))
    assert answer.status in route.responses, answer.body


@pytest.fixture(scope="module")
def former(api: Api) -> User:
    """Whose tokens still say operator, as if the end of the sessions had been lost."""
    made = operator(api)
    statement = "UPDATE identity.users SET role = 'auditor' WHERE id = $1"
    api.owner(lambda database: database.execute(statement, made.uuid))
    return made


@pytest.mark.parametrize(
    "route", [route for route in OF_OPERATORS if route.method != "GET"], ids=name_of
)
@pytest.mark.contract("12.1.1")
def test_who_is_no_operator_any_more_does_nothing(
    former: User, untouched: World, route: Route
) -> None:
    problem(untouched.ask(former, route), 403, "forbidden")


def parameters(route: Route) -> dict[str, str] | None:
    return {"date": "2026-01-31"} if "date" in route.parameters else None


@pytest.mark.parametrize("route", ROWS, ids=name_of)
@pytest.mark.contract("1.6.9")
def test_a_key_needs_the_scope_of_the_route(
    api: Api, boss: User, keys: dict[str, str], route: Route
) -> None:
    for scope, secret in keys.items():
        answer = asked(api, route, secret)
        if route.scope is None:
            problem(answer, 403, "forbidden")
        elif route.scope in {scope, "any"}:
            assert answer.status not in REFUSED, (scope, answer.body)
        else:
            assert problem(answer, 403, "insufficient_scope")["scope"] == route.scope


@pytest.mark.parametrize("route", OF_OPERATORS, ids=name_of)
@pytest.mark.contract("12.1.1")
def test_a_key_of_an_operator_is_no_operator(boss: User, world: World, route: Route) -> None:
    secret = key_of(boss, scopes=list(SCOPES))["secret"]
    client = world.api.client(access_token=secret)
    answer = client.request(route.method, route.path.replace("{id}", "x"))
    problem(answer, 403, "forbidden")
    boss.client.request("DELETE", f"{API}/api_keys/{boss.get('/api_keys').json()['data'][0]['id']}")


def test_every_change_has_a_row_for_frozen_users() -> None:
    assert set(FROZEN) == {name_of(route) for route in CHANGES}


@pytest.mark.parametrize("route", ordered(CHANGES, ENDS_THE_SESSION), ids=name_of)
@pytest.mark.contract("12.4.1")
def test_a_frozen_user_moves_reserves_and_asks_for_nothing(
    api: Api, frozen: World, route: Route
) -> None:
    name, owner = name_of(route), frozen.owner
    if name in ENDS_THE_SESSION:
        owner.client.login(owner.email, PASSWORD)
        current = [each for each in owner.get("/auth/sessions").json()["data"] if each["current"]]
        frozen.ids[name] = current[0]["id"]
    answer = frozen.ask(owner, route)
    assert answer.status == FROZEN[name], answer.body
    if FROZEN[name] == 403:
        assert answer.json()["code"] == "account_frozen"


@pytest.mark.parametrize(
    "route", [route for route in OF_USERS if route.method == "GET"], ids=name_of
)
@pytest.mark.contract("12.4.1")
def test_a_frozen_user_reads_with_a_session_and_with_a_key(
    api: Api, frozen: World, route: Route
) -> None:
    reading = frozen.api.client()
    reading.login(frozen.owner.email, PASSWORD)
    path = route.path.replace("{id}", frozen.ids.get(name_of(route), "x"))
    assert reading.request("GET", path).status not in REFUSED
    key = reading.request(
        "POST",
        f"{API}/api_keys",
        json={"name": "k", "scopes": list(SCOPES), "password": PASSWORD},
    ).json()
    if route.scope is not None:
        with_key = frozen.api.client(access_token=key["secret"])
        assert with_key.request("GET", path).status not in REFUSED
    assert reading.request("DELETE", f"{API}/api_keys/{key['id']}").status == 204


@pytest.mark.parametrize(
    "route", [route for route in OF_USERS if "{id}" in route.path], ids=name_of
)
def test_what_belongs_to_others_is_404(user: User, world: World, route: Route) -> None:
    assert name_of(route) in world.ids, "the route needs an id in matrix.py"
    problem(world.ask(user, route), 404, "not_found")


def test_routes_of_sessions_and_keys_are_for_sessions_alone() -> None:
    """A key that could make keys, or end sessions, would be worth as much as the password."""
    for route in ROWS:
        inside = route.path.removeprefix(f"{API}/")
        of_sessions = inside.startswith(("auth/", "api_keys", "operator")) and inside != "auth/me"
        if of_sessions or (route.method, inside) in SESSIONS_ALONE:
            assert route.scope is None, route.path
        else:
            assert route.scope is not None, route.path
        assert bool(route.roles) is inside.startswith("operator/"), route.path
