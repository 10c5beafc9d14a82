"""Headers of every answer, CORS, and the parsing of paths and methods."""

import http.client
import json
import re
import time
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.api.assertions import ID, problem
from tests.api.conftest import ORIGIN, Strict
from tests.api_process import Api, User

# Each kind of answer: method, path, status.
ANSWERS: Final = [
    ("GET", "/api/v1/auth/me", 200),
    ("POST", "/api/v1/auth/login", 400),
    ("GET", "/api/v1/nothing", 404),
    ("GET", "/", 404),
    ("GET", "/api/v1/transactions/nonsense", 404),
    ("DELETE", "/api/v1/accounts", 405),
    ("OPTIONS", "/api/v1/accounts", 204),
    ("HEAD", "/api/v1/accounts", 200),
    ("GET", "/api/v1/health", 200),
    ("GET", "/docs", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/metrics", 200),
]


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(1_000)


def ask(user: User, method: str, path: str, **headers: str) -> Any:
    """Headers with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return user.client.request(method, path, headers=named)


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
class TestEveryAnswer:
    @pytest.mark.contract("1.5.2")
    def test_has_the_request_id_that_was_given(
        self, alice: User, method: str, path: str, status: int
    ) -> None:
        answer = ask(alice, method, path, X_Request_Id="mine-1._A")
        assert (answer.status, answer.headers["X-Request-Id"]) == (status, "mine-1._A")
        if answer.media_type == "application/problem+json":
            assert answer.json()["request_id"] == "mine-1._A"

    def test_has_a_new_request_id_if_none_was_given(
        self, alice: User, method: str, path: str, status: int
    ) -> None:
        answers = [ask(alice, method, path) for _ in range(2)]
        assert [answer.status for answer in answers] == [status] * 2
        seen = {answer.headers["X-Request-Id"] for answer in answers}
        assert len(seen) == 2
        assert all(re.fullmatch(f"req_{ID}", each) for each in seen)

    @pytest.mark.contract("1.5.3")
    def test_has_security_headers(self, alice: User, method: str, path: str, status: int) -> None:
        answer = ask(alice, method, path)
        headers = answer.headers
        assert answer.status == status
        assert int(headers["Strict-Transport-Security"].partition("max-age=")[2].split(";")[0])
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert "unsafe-eval" not in policy
        assert "script-src 'self' 'unsafe" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert "Server" not in headers

    def test_has_no_cors_headers_by_default(
        self, alice: User, method: str, path: str, status: int
    ) -> None:
        """Without FINPAY_CORS_ORIGINS."""
        answer = ask(alice, method, path, Origin=ORIGIN, Access_Control_Request_Method="GET")
        assert answer.status == status
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.contract("1.5.2")
@pytest.mark.parametrize("given", ["x" * 129, "a b", "a,b", "é", 'a"b', "a/b", "a\tb", "", "💥"])
def test_an_invalid_request_id_is_replaced(alice: User, given: str) -> None:
    headers: Any = {"X-Request-Id": given.encode()}
    answer = alice.client.request("GET", "/api/v1/auth/me", headers=headers)
    assert re.fullmatch(f"req_{ID}", answer.headers["X-Request-Id"])


@pytest.mark.contract("1.5.2")
def test_the_longest_request_id_is_kept(alice: User) -> None:
    assert ask(alice, "GET", "/livez", X_Request_Id="x" * 128).headers["X-Request-Id"] == "x" * 128


TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.contract("1.5.2")
@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-00", TRACE),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}", None),
        ("nonsense", None),
    ],
)
def test_the_trace_is_in_the_log_line(
    api: Api, alice: User, traceparent: str, trace_id: str | None
) -> None:
    marker = f"trace-{time.monotonic_ns()}"
    ask(alice, "GET", "/api/v1/auth/me", X_Request_Id=marker, traceparent=traceparent)
    line = log_line(api, marker)
    assert line.get("trace_id") == trace_id
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/v1/auth/me", 200)
    assert (line["user_id"], line["decision"]) == (alice.user_id, "admitted")
    assert 0 < line["ms"] < 5_000


def log_line(api: Api, request_id: str, limit_s: float = 5.0) -> dict[str, Any]:
    """The log line of this request, which is written after its answer."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        lines = [line for line in api.log.read_text().splitlines() if request_id in line]
        if lines:
            assert len(lines) == 1
            found: dict[str, Any] = json.loads(lines[0])
            return found
        time.sleep(0.01)
    raise AssertionError(f"no line for {request_id}")


class TestCors:
    """FINPAY_CORS_ORIGINS names https://shop.example and another one."""

    @pytest.mark.contract("1.5.4")
    def test_a_listed_origin_may_read_answers_and_the_headers_of_the_contract(
        self, strict: Strict
    ) -> None:
        alice = strict.user()
        for path, status in (("/api/v1/auth/me", 200), ("/api/v1/nothing", 404)):
            answer = ask(alice, "GET", path, Origin=ORIGIN)
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert "Origin" in answer.headers["Vary"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
            exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
            assert {*exposed} == {
                *("X-Request-Id", "Idempotent-Replayed", "RateLimit"),
                *("RateLimit-Policy", "Retry-After", "Link"),
            }

    @pytest.mark.contract("1.5.4")
    @pytest.mark.parametrize(
        "origin",
        [
            "https://evil.example",
            "http://shop.example",
            "https://shop.example.evil.example",
            "https://sub.shop.example",
            "https://shop.example:8443",
            "null",
            "*",
        ],
    )
    def test_other_origins_may_not(self, strict: Strict, origin: str) -> None:
        answer = ask(strict.user(), "GET", "/api/v1/auth/me", Origin=origin)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin"

    @pytest.mark.fault("H8")
    def test_a_preflight_is_answered_with_the_allowed_methods_and_headers(
        self, strict: Strict
    ) -> None:
        answer = strict.anonymous_client().request(
            "OPTIONS",
            "/api/v1/transactions",
            headers={
                "Origin": ORIGIN,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, x-idempotency-key",
            },
        )
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "POST" in answer.headers["Access-Control-Allow-Methods"].split(", ")
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert {"authorization", "content-type", "x-idempotency-key"} <= {*allowed}
        assert {"traceparent", "tracestate", "baggage", "sentry-trace"} <= {*allowed}

    def test_a_preflight_for_an_unknown_path_is_404(self, strict: Strict) -> None:
        answer = strict.anonymous_client().request(
            "OPTIONS", "/api/v1/nothing", headers={"Origin": ORIGIN}
        )
        problem(answer, 404, "not_found")


@pytest.mark.contract("1.5.1")
@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/v1/accounts", {"GET", "HEAD", "OPTIONS", "PATCH"}),
        ("/api/v1/accounts/", {"GET", "HEAD", "OPTIONS", "PATCH"}),
        ("/api/v1/transactions", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("/api/v1/transactions/anything", {"GET", "HEAD", "OPTIONS"}),
        ("/api/v1/auth/login", {"OPTIONS", "POST"}),
        ("/livez", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_options_and_405_name_the_methods(api: Api, path: str, methods: set[str]) -> None:
    client = api.client()
    for method, status in (("OPTIONS", 204), ("PUT", 405), ("PROPFIND", 405)):
        answer = client.request(method, path)
        assert answer.status == status
        assert {*answer.headers["Allow"].split(", ")} == methods
    problem(client.request("DELETE", path), 405, "method_not_allowed")


@pytest.mark.contract("1.5.1")
@pytest.mark.parametrize("path", ["/auth/me", "/accounts", "/accounts/entries", "/transactions"])
def test_head_is_get_without_a_body(alice: User, path: str) -> None:
    got = ask(alice, "GET", f"/api/v1{path}")
    head = ask(alice, "HEAD", f"/api/v1{path}")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Type", "Content-Length", "Cache-Control"):
        assert head.headers[name] == got.headers[name]
    assert ask(alice, "HEAD", "/api/v1/transactions/nonsense").status == 404


@pytest.mark.contract("1.5.1")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/accounts/", 200),
        ("/api/v1/transactions/?limit=1", 200),
        ("/api/v1/%61ccounts", 404),
        ("/api/v1/accounts//", 404),
        ("/api/v1//accounts", 404),
        ("//api/v1/accounts", 404),
        ("/api//v1/accounts", 404),
        ("//", 404),
        ("/api/v1/transactions//", 404),
        ("/api/v1/accounts/entries/x", 404),
        ("/api/v1/Accounts", 404),
        ("/api/v1/accounts%00", 404),
        ("/api/v1/accounts%2Fentries", 404),
        ("/api/v1/../v1/accounts", 404),
        ("/api/v1/transactions/%ff", 404),
        ("/api/v1/transactions/{id}", 404),
        ("/api/v2/accounts", 404),
        ("/docs/assets/../docs.html", 404),
        ("/docs/assets/%2e%2e%2fdocs.html", 404),
        ("/docs/errors/nothing", 404),
    ],
)
def test_a_path_is_not_normalised(alice: User, api: Api, path: str, status: int) -> None:
    """Over http.client: other clients normalise paths before they send them."""
    address = urlsplit(api.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    connection.request("GET", path, headers={"Authorization": f"Bearer {alice.token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == status, body
    if status == 404:
        assert json.loads(body)["code"] == "not_found"
