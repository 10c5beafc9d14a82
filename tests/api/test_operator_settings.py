"""Deployments of the routes of operators: their database, their rate limit, production."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from finpay.dev.child_process import DevError
from tests.api.assertions import problem
from tests.api.operators import auditor, deposit, operator
from tests.api_process import Api, User, await_ready

Serve = Callable[..., Api]


def at(api: Api, user: User) -> User:
    """The same login at another API."""
    client = api.client(access_token=user.token)
    return User(client, user.email, user.user_id, user.account_id)


@pytest.fixture
def login(api: Api) -> Iterator[Callable[[str], str]]:
    """Call it for a URL of a login that is a member of a role alone."""
    made: list[str] = []

    async def execute(*statements: str) -> None:
        connection = await asyncpg.connect(api.database_url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    def create(role: str) -> str:
        name = f"login_of_{role}_{urlsplit(api.database_url).path[1:]}"
        made.append(name)
        api.owner(lambda _: execute(f"CREATE ROLE {name} LOGIN", f"GRANT {role} TO {name}"))
        parts = urlsplit(api.database_url)
        return parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}").geturl()

    yield create
    for name in made:
        api.owner(lambda _, name=name: execute(f"DROP ROLE {name}"))  # type: ignore[misc]


@pytest.mark.contract("2.3.6")
def test_with_logins_of_their_own_each_role_does_its_part(
    api: Api, serve: Serve, login: Callable[[str], str]
) -> None:
    """As in production: neither login is a superuser."""
    own = serve(
        DATABASE_URL=login("finpay_app"), FINPAY_DATABASE_OPERATOR_URL=login("finpay_operator")
    )
    boss, owner = at(own, operator(api)), api.user()
    assert deposit(boss, owner, 5, f"login-{owner.user_id}").status == 201
    path = f"/operator/accounts/{owner.account_id}"
    assert boss.post(f"{path}/freeze", reason="r").status == 200
    assert boss.get(path).json()["freezes"][0]["operator_id"] == boss.user_id


@pytest.mark.contract("2.3.6")
def test_without_the_operators_database_its_routes_are_unknown(api: Api, serve: Serve) -> None:
    own = serve(FINPAY_DATABASE_OPERATOR_URL="")
    boss, owner = at(own, operator(api)), api.user()
    answer = deposit(boss, owner, 5, "none")
    assert "FINPAY_DATABASE_OPERATOR_URL" in problem(answer, 404, "not_found")["detail"]
    anonymous = own.client().request("POST", "/api/v1/operator/deposits", json={})
    problem(anonymous, 404, "not_found")
    assert boss.get("/operator/users").status == 200
    assert boss.post(f"/operator/users/{owner.user_id}/end_sessions", reason="r").status == 204


@pytest.mark.contract("2.3.6")
def test_a_login_that_is_no_operator_is_refused_at_the_start(
    serve: Serve, login: Callable[[str], str]
) -> None:
    own = serve(ready=False, FINPAY_DATABASE_OPERATOR_URL=login("finpay_app"))
    with pytest.raises((AssertionError, DevError)):
        await_ready(own, limit_s=10)
    assert own.process.wait(10) == 2
    assert "FINPAY_DATABASE_OPERATOR_URL" in own.log.read_text()


@pytest.mark.contract("12.1.4")
def test_operators_have_a_rate_limit_of_their_own(api: Api, serve: Serve) -> None:
    own = serve(FINPAY_RATE_LIMIT_GLOBAL="5/900", FINPAY_RATE_LIMIT_OPERATOR="7/900")
    reader, user = at(own, auditor(api)), at(own, api.user())
    answers = [reader.get("/operator/users") for _ in range(8)]
    assert [answer.status for answer in answers] == [200] * 7 + [429]
    assert answers[0].headers["RateLimit-Policy"] == '"operator";q=7;w=900'
    assert problem(answers[-1], 429, "rate_limited")["policy"] == "operator"
    assert reader.get("/accounts").status == 200
    refused = [user.get("/operator/users").status for _ in range(6)]
    assert refused == [403] * 5 + [429]


@pytest.mark.contract("12.1.3")
def test_in_production_operators_need_a_second_factor(api: Api, serve: Serve) -> None:
    secret = "a secret of production with more than thirty-two bytes"
    own = serve(FINPAY_ENV="production", FINPAY_JWT_SECRET=secret, HOST="127.0.0.1")
    boss = operator(api)
    client = own.client()
    client.login(boss.email, "correct horse battery")
    problem(client.request("GET", "/api/v1/operator/users"), 403, "forbidden")
    assert client.request("GET", "/api/v1/accounts").status == 200
