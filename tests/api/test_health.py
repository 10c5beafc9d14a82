"""Health, metrics, the OpenAPI document and the pages of the documentation."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urljoin

import pytest

from finpay.errors import Code
from tests.api.assertions import problem
from tests.api.conftest import METRICS_TOKEN, Strict
from tests.api_process import Api, running_api

HTML: Final = "text/html; charset=utf-8"
# The routes of the contract, and those at the root.
PATHS: Final = {
    "/api/v1/auth/register": {"post"},
    "/api/v1/auth/login": {"post"},
    "/api/v1/auth/refresh": {"post"},
    "/api/v1/auth/logout": {"post"},
    "/api/v1/auth/password": {"post"},
    "/api/v1/auth/me": {"get", "patch"},
    "/api/v1/accounts": {"get", "patch"},
    "/api/v1/accounts/entries": {"get"},
    "/api/v1/transactions": {"get", "post"},
    "/api/v1/transactions/{id}": {"get"},
    "/api/v1/health": {"get"},
    "/livez": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
    "/openapi.json": {"get"},
    "/docs": {"get"},
}
FREE: Final = {
    f"/api/v1/auth/{name}"
    for name in (
        "register",
        "login",
        "login/second_factor",
        "refresh",
        "password/forgot",
        "password/reset",
        "email/verify",
    )
}


def ask(api: Api, path: str, authorization: str | None = None) -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    return api.client().request("GET", path, headers=headers)


@pytest.mark.contract("1.2.14")
def test_health_has_the_state_of_postgres_and_redis(api: Api) -> None:
    answer = ask(api, "/api/v1/health")
    assert (answer.status, answer.media_type) == (200, "application/json")
    checks = {"postgres": "ok", "redis": "ok"}
    assert answer.json() == {"status": "ok", "version": version("finpay"), "checks": checks}


@pytest.mark.contract("1.2.14")
def test_probes_are_ok_while_the_servers_are(api: Api) -> None:
    assert ask(api, "/livez").status == 200
    ready = ask(api, "/readyz")
    assert (ready.status, ready.json()) == (
        200,
        {"status": "ok", "checks": {"postgres": "ok", "redis": "ok", "integrity": "unknown"}},
    )


@pytest.mark.contract("1.2.14")
def test_health_needs_no_token_and_is_never_limited(strict: Strict) -> None:
    """With more requests than any limit, and with an invalid token."""
    client = strict.anonymous_client()
    for path in ("/api/v1/health", "/livez", "/readyz"):
        for _ in range(110):
            answer = client.request("GET", path, headers={"Authorization": "Bearer nonsense"})
            assert answer.status == 200
            assert "RateLimit" not in answer.headers


class TestMetrics:
    def test_are_open_in_development(self, api: Api) -> None:
        alice = api.user(1)
        alice.send(alice, 1, "metrics")
        answer = ask(api, "/metrics")
        assert (answer.status, answer.media_type) == (200, "text/plain")
        samples = re.findall(r"^(finpay_\w+)\S* (\S+)$", answer.body.decode(), re.MULTILINE)
        counted = {name for name, value in samples if float(value) > 0}
        assert counted >= {
            *("finpay_http_requests_total", "finpay_http_request_duration_seconds_count"),
            *("finpay_gate_outcomes_total", "finpay_redis_pipeline_size_count"),
            *("finpay_ledger_outcomes_total", "finpay_ledger_batch_size_count"),
            "finpay_db_pool_wait_seconds_count",
        }
        assert ("finpay_redis_breaker_open", "0.0") in samples

    @pytest.mark.contract("1.2.16")
    @pytest.mark.parametrize(
        "authorization",
        [None, "", "Bearer", "Bearer wrong", METRICS_TOKEN, f"Basic {METRICS_TOKEN}", "Bearer é"],
    )
    def test_need_their_token_where_one_is_set(
        self, strict: Strict, authorization: str | None
    ) -> None:
        given: Any = None if authorization is None else authorization.encode()
        answer = ask(strict.api, "/metrics", given)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        assert b"finpay_" not in answer.body

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_are_shown_for_their_token(self, strict: Strict, scheme: str) -> None:
        assert ask(strict.api, "/metrics", f"{scheme} {METRICS_TOKEN}").status == 200

    @pytest.mark.contract("1.2.16")
    def test_sum_all_processes(self, strict: Strict) -> None:
        """Requests over many connections, so that each process answers some."""

        def counted() -> float:
            text = ask(strict.api, "/metrics", f"Bearer {METRICS_TOKEN}").body.decode()
            found = re.search(
                r'^finpay_http_requests_total\{method="GET",route="none",status="404"\} (\S+)$',
                text,
                re.MULTILINE,
            )
            return 0 if found is None else float(found[1])

        before = counted()
        for number in range(24):
            assert ask(strict.api, f"/no/such/path/{number}").status == 404
        assert {counted() for _ in range(8)} == {before + 24}


@pytest.fixture(scope="module")
def production(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    settings = {
        "FINPAY_ENV": "production",
        "FINPAY_JWT_SECRET": "a secret of thirty-two bytes or more",
        "HOST": "127.0.0.1",
    }
    folder = tmp_path_factory.mktemp("production")
    with running_api(folder, database_url, redis_url, **settings) as running:
        yield running


@pytest.mark.contract("1.2.16")
def test_production_hides_its_metrics_unless_a_token_is_set(production: Api) -> None:
    for authorization in (None, "Bearer", "Bearer None"):
        problem(ask(production, "/metrics", authorization), 404, "not_found")


def test_production_refuses_a_token_of_another_secret(api: Api, production: Api) -> None:
    """Above all tokens of the published development secret, which any client can forge."""
    problem(
        ask(production, "/api/v1/auth/me", f"Bearer {api.user().token}"), 401, "unauthenticated"
    )
    assert production.user().get("/auth/me").status == 200


class TestDocument:
    @pytest.mark.contract("1.2.15")
    def test_has_every_route_of_the_contract(self, api: Api) -> None:
        answer = ask(api, "/openapi.json")
        assert (answer.status, answer.media_type) == (200, "application/json")
        document = answer.json()
        assert document["openapi"].startswith("3.1.")
        described = {path: {*methods} for path, methods in document["paths"].items()}
        assert {path: described.get(path) for path in PATHS} == PATHS

    def test_names_the_routes_that_need_a_token(self, api: Api) -> None:
        for path, methods in ask(api, "/openapi.json").json()["paths"].items():
            private = path.startswith("/api/v1/") and path not in FREE | {"/api/v1/health"}
            for operation in methods.values():
                assert ("security" in operation) == private, path
                assert ("401" in operation["responses"]) >= private, path

    @pytest.mark.contract("1.4.2")
    def test_has_every_error_code_of_the_contract(self, api: Api) -> None:
        """Except 405, which no operation of the document can have."""
        text = ask(api, "/openapi.json").body.decode()
        absent = {code for code in Code if f"`{code}`" not in text}
        assert absent == {Code.METHOD_NOT_ALLOWED}


class TestPages:
    @pytest.mark.contract("1.2.15")
    @pytest.mark.parametrize("path", ["/docs", "/docs/", "/docs/errors", "/docs/errors/overloaded"])
    def test_load_nothing_from_another_host(self, api: Api, path: str) -> None:
        page = ask(api, path)
        assert (page.status, page.headers["Content-Type"]) == (200, HTML)
        html = page.body.decode()
        links = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", html)
        assert links
        for link in links:
            assert re.match(r"/(?!/)", link), link
            assert ask(api, link).status == 200, link
        assert "<script>" not in html
        assert "style=" not in html
        policy = dict(
            part.strip().partition(" ")[::2]
            for part in page.headers["Content-Security-Policy"].split(";")
        )
        sources = {source for values in policy.values() for source in values.split()}
        assert sources <= {"'self'", "'none'", "data:", "'unsafe-inline'"}
        assert policy["script-src"] == "'self'"

    def test_serve_their_own_files(self, api: Api) -> None:
        html = ask(api, "/docs").body.decode()
        kinds = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
        for link in re.findall(r'/docs/assets/[^"]+', html):
            answer = ask(api, link)
            assert answer.media_type == kinds[link.rpartition(".")[2]]
            assert answer.headers["Cache-Control"].startswith("public")
            if link.endswith("css"):
                assert not re.findall(rb"@import|url\((?!['\"]?data:)", answer.body)
        own = ask(api, "/docs/assets/docs.js").body.decode()
        assert "/openapi.json" in own
        assert "//" not in re.sub(r"^\s*//.*$", "", own, flags=re.MULTILINE)

    @pytest.mark.contract("1.2.15")
    @pytest.mark.parametrize("code", Code)
    def test_explain_every_error(self, api: Api, code: Code) -> None:
        page = ask(api, f"/docs/errors/{code}")
        assert (page.status, page.headers["Content-Type"]) == (200, HTML)
        assert f"<h1>{code}</h1>" in page.body.decode()
        assert f'href="/docs/errors/{code}"' in ask(api, "/docs/errors").body.decode()

    @pytest.mark.contract("1.4.1")
    def test_exist_at_the_type_of_a_problem(self, api: Api) -> None:
        for path in ("/nothing", "/api/v1/auth/me", "/api/v1/auth/login"):
            answer = ask(api, path)
            page = urljoin(path, answer.json()["type"])
            assert ask(api, page).status == 200
