"""Logs and metrics: one line per request, metrics summed over processes, and no secrets."""

import json
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from finpay.dev.child_process import free_port
from tests.api_process import Api, User, running_api
from tests.faults.api_probes import ask, await_new_workers, await_that, workers

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
MEMBERS: Final = {"request_id", "method", "route", "status", "ms"}
CANARY: Final = "kanarie-9f3b71"  # in every secret and in every e-mail of these tests
SECRET: Final = f"{CANARY}-jwt-secret-of-at-least-32-bytes"
TRANSACTIONS: Final = "/api/v1/transactions"
JSON: Final = "Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def seen(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """An API whose log these tests read; its URLs and settings contain canaries too."""
    settings = {"FINPAY_JWT_SECRET": SECRET, "FINPAY_METRICS_TOKEN": f"{CANARY}-metrics"}
    url = database_url.replace("postgres@", f"postgres:{CANARY}@")
    with running_api(tmp_path_factory.mktemp("seen"), url, redis_url, **settings) as running:
        running.database_url = database_url
        yield running


class Log:
    """The lines that an API has written since this was made."""

    def __init__(self, api: Api) -> None:
        self._path: Path = api.log
        self._from = self._path.stat().st_size

    @property
    def text(self) -> str:
        with self._path.open("rb") as file:
            file.seek(self._from)
            return file.read().decode()

    def lines(self) -> list[dict[str, Any]]:
        """All lines, each decoded from JSON."""
        return [json.loads(line) for line in self.text.splitlines()]

    def line_of(self, request_id: str) -> dict[str, Any]:
        """The one line of this request. It is written after the answer, so it may be awaited."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line.get("request_id") == request_id]

        await_that(f"a line of {request_id}", found)
        (line,) = found()
        return line


def logged(api: Api, token: str, method: str, path: str, **request: Any) -> dict[str, Any]:
    """The log line of one request."""
    log = Log(api)
    request_id = f"seen-{secrets.token_hex(6)}"
    headers = {"X-Request-Id": request_id, "Authorization": f"Bearer {token}"}
    headers |= request.pop("headers", {})
    api.client().request(method, path, headers=headers, **request)
    return log.line_of(request_id)


def test_every_request_is_one_line(seen: Api) -> None:
    alice, bob = seen.user(1_000), seen.user()
    money = {"receiver_id": bob.account_id, "amount": 1}
    key = {"X-Idempotency-Key": "one-line"}
    paying = {"json": money, "headers": key}
    cases: list[tuple[str, str, dict[str, Any], str, int, str | None]] = [
        ("GET", "/api/v1/accounts", {}, "/api/v1/accounts", 200, "admitted"),
        ("GET", "/api/v1/accounts", {}, "/api/v1/accounts", 200, "cache_hit"),
        ("HEAD", "/api/v1/auth/me", {}, "/api/v1/auth/me", 200, "admitted"),
        ("POST", TRANSACTIONS, paying, TRANSACTIONS, 201, "admitted"),
        ("POST", TRANSACTIONS, paying, TRANSACTIONS, 201, "replayed"),
        ("POST", TRANSACTIONS, {"json": money | {"amount": 2}, "headers": key}, TRANSACTIONS, 422,
         "key_reused"),
        ("POST", TRANSACTIONS, {"content": b"{", "headers": key}, TRANSACTIONS, 400, "admitted"),
        ("GET", f"{TRANSACTIONS}/txn_unknown", {}, f"{TRANSACTIONS}/{{id}}", 404, "admitted"),
        ("GET", "/api/v1/auth/me", {"headers": {"Authorization": "Bearer x"}}, "/api/v1/auth/me",
         401, None),
        ("OPTIONS", "/api/v1/accounts", {}, "/api/v1/accounts", 204, None),
        ("DELETE", "/api/v1/accounts", {}, "/api/v1/accounts", 405, None),
        ("GET", "/no/such/path", {}, "none", 404, None),
        ("GET", "/livez", {}, "/livez", 200, None),
    ]  # fmt: skip
    for method, path, request, route, status, decision in cases:
        line = logged(seen, alice.token, method, path, **request)
        assert line.keys() >= MEMBERS
        assert (line["route"], line["status"], line.get("decision")) == (route, status, decision), (
            line
        )
        assert 0 < line["ms"] < 5_000
    assert not {"user_id", "trace_id"} & line.keys()


def test_a_line_names_its_user_and_its_trace(seen: Api) -> None:
    alice = seen.user()
    traced = {"headers": {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}}
    line = logged(seen, alice.token, "GET", "/api/v1/auth/me", **traced)
    assert (line["user_id"], line["trace_id"]) == (alice.user_id, TRACE)
    for broken in (f"00-{'0' * 32}-00f067aa0ba902b7-01", TRACE, "x" * 4_000):
        line = logged(seen, alice.token, "GET", "/livez", headers={"traceparent": broken})
        assert "trace_id" not in line
    gone = alice.token
    alice.client.logout()
    line = logged(seen, gone, "GET", "/api/v1/auth/me")
    assert (line["status"], line["decision"], line["user_id"]) == (401, "revoked", alice.user_id)


def test_no_line_can_be_forged(seen: Api) -> None:
    """With any input each line is one JSON object, and there is one line per request."""
    forged = '%0d%0a{"event":"request","user_id":"usr_forged"}%0d%0a'
    body = '{"email":"a\\r\\n{\\"forged\\":1}","password":"\\r\\nforged"}'
    log = Log(seen)
    raw = [
        f"GET /{forged} HTTP/1.1\r\n",
        f"GET /api/v1/accounts?{forged}={forged} HTTP/1.1\r\n",
        "GET /livez HTTP/1.1\r\nX-Request-Id: a\r\n forged\r\n",
        'GET /livez HTTP/1.1\r\nX-Request-Id: a\x0b"forged\r\n',
        "GET /livez HTTP/1.1\r\ntraceparent: 00-forged\x85\r\n",
        "GET /livez HTTP/1.1\r\nUser-Agent: forged\\n{}\r\n",
        f"POST /api/v1/auth/login HTTP/1.1\r\n{JSON}Content-Length: {len(body)}\r\n",
    ]
    for head in raw:
        sent = body if head.startswith("POST") else ""
        answer = response_to(seen, f"{head}Host: finpay\r\nConnection: close\r\n\r\n{sent}")
        assert answer.startswith(b"HTTP/1.1 "), head
        assert b"forged" not in answer.partition(b"\r\n\r\n")[0]
    assert response_to(seen, "FORGED / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    logged(seen, "none", "GET", "/livez")
    events = [line["event"] for line in log.lines()]
    assert events.count("request") == len(raw) - 1, "two of them are no HTTP at all"
    assert events.count("request") + events.count("malformed_request") == len(raw) + 2
    assert len(events) == len(raw) + 2
    assert "forged" not in log.text.lower()


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("GET / HTTP/1.1\r\n", "Host is missing or repeated"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n", "Host is not valid"),
        ("GET /#a HTTP/1.1\r\nHost: a\r\n", "the target has a fragment"),
        ("FORGED / HTTP/1.1\r\n", "Invalid HTTP request received."),
    ],
)
def test_a_malformed_request_is_logged_with_what_was_wrong(
    seen: Api, head: str, reason: str
) -> None:
    log = Log(seen)
    assert response_to(seen, f"{head}\r\n").startswith(b"HTTP/1.1 400 ")
    (line,) = log.lines()
    assert (line["event"], line["reason"]) == ("malformed_request", reason)


def test_no_secret_and_no_email_is_written_anywhere(seen: Api) -> None:
    email = f"{CANARY}-{secrets.token_hex(4)}@example.com"
    client = seen.client()
    login = client.register(email, f"{CANARY} password", name=f"{CANARY} name")
    user = User(client, email, login.user.id, login.account.id)
    tokens = [user.token, str(client.refresh_token)]
    credentials = {"email": email, "password": f"{CANARY} password"}
    for path, body in [
        ("login", credentials | {"password": f"{CANARY} wrong"}),
        ("login", credentials | {CANARY: 1}),
        ("login", {"email": [email], "password": {CANARY: CANARY}}),
        ("register", credentials),
        ("refresh", {"refresh_token": CANARY}),
        ("password", {"current_password": f"{CANARY} wrong", "new_password": f"{CANARY} new"}),
        ("refresh", {"refresh_token": client.refresh_token}),
    ]:
        client.request("POST", f"/api/v1/auth/{path}", json=body)
    client.request("POST", "/api/v1/auth/login", content=f'{{"{CANARY}": "{email}'.encode())
    client.request("GET", f"/{CANARY}/{email}", params={"token": CANARY})
    client.request("GET", "/api/v1/auth/me", headers={"Authorization": f"Bearer {CANARY}.x.y"})
    client.request(
        "POST",
        TRANSACTIONS,
        json={"receiver_email": email, "amount": 1, "description": CANARY},
        headers={"X-Idempotency-Key": CANARY},
    )
    last = logged(seen, "none", "GET", "/livez")["request_id"]
    assert last in seen.log.read_text()
    assert_no_secret(seen, tokens)


def test_a_bug_is_logged_without_the_row_that_caused_it(
    serve: Callable[..., Api], fresh_database: Callable[[], str]
) -> None:
    """PostgreSQL quotes the whole row in the detail of a violation: e-mail, password hash."""
    broken = serve(DATABASE_URL=fresh_database(), FINPAY_WORKERS="2")
    broken.sql("ALTER TABLE identity.users ADD CONSTRAINT planted CHECK (name <> 'planted')")
    email = f"{CANARY}@example.com"
    body = {"email": email, "password": f"{CANARY} password", "name": "planted"}
    answer = broken.client().request("POST", "/api/v1/auth/register", json=body)
    assert (answer.status, answer.json()["code"]) == (500, "internal_error")
    assert "planted" not in answer.body.decode()
    log = broken.log.read_text()
    bug = next(
        line for line in map(json.loads, log.splitlines()) if line["event"] == "unhandled_exception"
    )
    assert bug["request_id"] == answer.json()["request_id"]
    assert "CheckViolationError" in bug["exception"]
    assert_no_secret(broken, ["argon2id"])


def test_a_thousand_random_paths_add_no_series(seen: Api) -> None:
    user = seen.user()
    folders = ["/api/v1/transactions", "/docs/errors", "/nowhere"]
    for folder in folders:
        assert user.client.request("GET", f"{folder}/x").status == 404
        assert user.client.request("PURGE", f"{folder}/x").status in {404, 405}
    series(seen)
    before = series(seen)
    for number in range(1_000):
        path = f"{folders[number % 3]}/{secrets.token_hex(8)}"
        method = ["MKCOL", "LOCK", "REPORT"][number % 3] if number % 50 < 3 else "GET"
        assert user.client.request(method, path).status in {404, 405}
    assert series(seen) == before


def test_gauges_of_killed_processes_are_dropped(serve: Callable[..., Api]) -> None:
    """Both processes run without Redis and are killed; then only their successors are counted."""
    api = serve(FINPAY_WORKERS="2", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    await_that("two without Redis", lambda: without_redis(api) == 2)
    killed = workers(api)
    for worker in killed:
        worker.kill()
    await_new_workers(api, 2, but={worker.pid for worker in killed})
    await_that("two again", lambda: without_redis(api) == 2, 10)


def without_redis(api: Api) -> float:
    found = re.search(r"^finpay_redis_breaker_open (\S+)$", ask(api, "/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0


def series(api: Api) -> set[str]:
    text = ask(api, "/metrics", f"{CANARY}-metrics").text
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def response_to(api: Api, request: str) -> bytes:
    """The answer to these bytes."""
    port = int(api.url.rpartition(":")[2])
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request.encode("latin-1"))
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


def assert_no_secret(api: Api, more_secrets: list[str]) -> None:
    """Checks that the log and the metrics contain no secret."""
    shown = ask(api, "/metrics", f"{CANARY}-metrics")
    assert shown.status_code == 200
    for text in (api.log.read_text(), shown.text):
        for secret in [CANARY, "@example.com", SECRET, *more_secrets]:
            assert secret not in text
