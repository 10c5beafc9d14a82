"""Malformed and hostile bytes: always answered with a complete problem, never with a 500.

Every string member of every body; malformed paths, queries and headers.
"""

import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Final

import httpx
import pytest

from finpay.client import HttpResponse
from tests.api.assertions import TRANSACTIONS, UNKNOWN_ACCOUNT, invalid, problem, sending
from tests.api_process import PASSWORD, Api, User

MAX_BODY: Final = 64 * 1024
SEND: Final = f'"receiver_id":"{UNKNOWN_ACCOUNT}","amount":5'

# Path, body with a placeholder for one JSON string, and the pointer to that string.
STRINGS: Final = [
    ("/auth/register", '{"email":%s,"password":"correct horse 1"}', "#/email"),
    ("/auth/register", '{"email":"x@example.com","password":%s}', "#/password"),
    ("/auth/register", '{"email":"x@example.com","password":"correct horse","name":%s}', "#/name"),
    ("/auth/register", '{"email":"x@example.com","password":"correct horse","currency":%s}',
     "#/currency"),
    ("/auth/login", '{"email":%s,"password":"correct horse 1"}', "#/email"),
    ("/auth/login", '{"email":"x@example.com","password":%s}', "#/password"),
    ("/auth/refresh", '{"refresh_token":%s}', "#/refresh_token"),
    ("/auth/password", '{"current_password":%s,"new_password":"correct horse"}',
     "#/current_password"),
    ("/auth/password", '{"current_password":"correct horse","new_password":%s}', "#/new_password"),
    ("/transactions", '{"amount":5,"receiver_id":%s}', "#/receiver_id"),
    ("/transactions", '{"amount":5,"receiver_email":%s}', "#/receiver_email"),
    ("/transactions", f'{{{SEND},"currency":%s}}', "#/currency"),
    ("/transactions", f'{{{SEND},"description":%s}}', "#/description"),
    ("/transactions", f'{{{SEND},"metadata":{{"k":%s}}}}', "#/metadata/k"),
]  # fmt: skip
UNSTORABLE: Final = [r'"\u0000"', r'"a\u0000b"', r'"\ud800"', r'"\udfff!"', r'"\udc00\ud800"']


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(1_000)


@pytest.fixture(autouse=True)
def nothing_happened(api: Api, alice: User) -> Iterator[None]:
    """The balance stands, and no bug was logged."""
    logged = api.log.stat().st_size
    yield
    assert alice.balance == 1_000
    assert b'"event":"bug"' not in api.log.read_bytes()[logged:]


def ask(user: User, path: str, content: bytes, **headers: str | None) -> HttpResponse:
    named = {"X-Idempotency-Key": "never-used"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return user.client.request("POST", f"/api/v1{path}", content=content, headers=named)


@pytest.mark.parametrize(("path", "template", "pointer"), STRINGS)
def test_a_nul_or_a_lone_surrogate_is_422_in_every_text(
    alice: User, path: str, template: str, pointer: str
) -> None:
    for text in UNSTORABLE:
        with sending(text):
            invalid(ask(alice, path, (template % text).encode()), pointer)


@pytest.mark.parametrize("name", [r"\u0000", r"\ud800", r"a\udfff", "unknown", r"\u0041", ""])
def test_a_member_with_an_odd_name_is_422(alice: User, name: str) -> None:
    for path, template, _ in STRINGS[::3]:
        body = (template % '"x"').replace("{", f'{{"{name}":1,', 1)
        with sending(path):
            problem(ask(alice, path, body.encode()), 422, "validation_failed")
    metadata = f'{{{SEND},"metadata":{{"\\u0000":"x"}}}}'
    problem(ask(alice, "/transactions", metadata.encode()), 422, "validation_failed")


@pytest.mark.parametrize(
    "name", ["balance", "role", "is_admin", "owner_id", "status", "created_at", "idempotency_key",
             "id", "sender_id", "type", "held", "version", "direction", "__proto__", "Amount",
             "a/b~c", "`x` - at `$.amount`", "%s", "\\\"'", "x" * 5_000]
)  # fmt: skip
def test_a_member_that_no_shape_has_is_422(alice: User, name: str) -> None:
    text = name.replace("\\", "\\\\").replace('"', '\\"')
    answer = ask(alice, "/transactions", f'{{{SEND},"{text}":1}}'.encode())
    problem(answer, 422, "validation_failed")
    body = f'{{"email":"extra@example.com","password":"{PASSWORD}","{text}":1}}'.encode()
    problem(ask(alice, "/auth/register", body), 422, "validation_failed")
    problem(ask(alice, "/auth/login", body), 422, "validation_failed")


@pytest.mark.parametrize(
    "content",
    [
        b'{"amount":5,"amount":5}', b'{"amount":5,"\\u0061mount":6}',
        b'{"metadata":{"a":"1","a":"2"}}', b'{"x":{"y":[{"z":1,"z":1}]}}',
        b'{"\\ud800":1,"\\ud800":2}', b'{"\\u0000":1,"\\u0000":2}',
        b'\xef\xbb\xbf{"amount":5}', b"\xff\xfe{\x00}\x00", b'{"description":"\xff"}',
        b'{"description":"\xc0\x80"}', b'{"description":"\xed\xa0\x80"}', b"\x00", b'{"a":"\x00"}',
        b'{"description":"a\nb"}', b"", b" ", b"{", b"}", b"{}{}", b"{},", b"{'a':1}", b"{a:1}",
        b'{"a":1,}', b'{"a":1}\x00', b'{"a":"\\x41"}', b'{"a":"\\u12"}', b'"', b"nul", b"/**/{}",
    ],
)  # fmt: skip
def test_a_body_that_is_not_one_json_value_in_utf_8_is_400(alice: User, content: bytes) -> None:
    for path in ("/transactions", "/auth/login"):
        problem(ask(alice, path, content), 400, "malformed_json")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000, b"[" * 60_000, b'{"a":' * 12_000, b"[" * 30_000 + b"]" * 30_000,
        b'{"metadata":' + b"[" * 30_000 + b"]" * 30_000 + b"}", b'["\\u0041",' + b"[" * 30_000,
    ],
)  # fmt: skip
def test_deep_nesting_is_refused(alice: User, content: bytes) -> None:
    for path in ("/transactions", "/auth/register"):
        answer = ask(alice, path, content)
        assert answer.status in {400, 413, 422}
        problem(answer, answer.status, answer.json()["code"])


def test_nesting_of_every_depth_is_refused(alice: User) -> None:
    """Decoder and text check have different limits of depth; neither may raise."""
    for depth in [*range(1, 20), *range(900, 1_000), 2_000, 5_000, 30_000]:
        content = b"[" * depth + b'"\\ud800"' + b"]" * depth
        with sending(depth):
            answer = ask(alice, "/transactions", content)
            assert answer.status in {400, 422}
            problem(answer, answer.status, answer.json()["code"])


class TestSize:
    def padded(self, size: int) -> bytes:
        return b"[" + b" " * (size - 2) + b"]"

    def test_of_64_kib_is_read_and_of_one_byte_more_is_413(self, alice: User) -> None:
        for path in ("/transactions", "/auth/login", "/auth/register", "/auth/logout"):
            answer = ask(alice, path, self.padded(MAX_BODY + 1))
            problem(answer, 413, "body_too_large")
        answer = ask(alice, "/transactions", self.padded(MAX_BODY))
        problem(answer, 422, "validation_failed")

    def test_is_bounded_without_a_content_length_too(self, api: Api, alice: User) -> None:
        for size, status in ((MAX_BODY, 422), (MAX_BODY + 1, 413), (2**20, 413)):
            answer = httpx.post(
                f"{api.url}{TRANSACTIONS}",
                content=iter([self.padded(size)[at : at + 5_000] for at in range(0, size, 5_000)]),
                headers=head_of(alice),
                trust_env=False,
            )
            assert answer.request.headers["Transfer-Encoding"] == "chunked"
            problem(HttpResponse(answer.status_code, answer.headers, answer.content), status,
                    "body_too_large" if status == 413 else "validation_failed")  # fmt: skip

    def test_is_checked_by_content_length_before_it_arrives(self, api: Api, alice: User) -> None:
        lines = [f"{name}: {value}" for name, value in head_of(alice).items()]
        answer = raw(api, f"POST {TRANSACTIONS} HTTP/1.1", *lines, "Content-Length: 99999999999")
        problem(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
     "application/problem+json", "application/jsonp", "json", "*/*", "application/json5",
     "application/json; charset=latin-1", "application/json; charset=utf-16",
     "application/json, text/plain", "application/json; charset=utf-8; charset=latin-1",
     "text/json"],
)  # fmt: skip
def test_a_body_that_does_not_call_itself_json_is_415(
    alice: User, content_type: str | None
) -> None:
    for path in ("/transactions", "/auth/login"):
        answer = ask(alice, path, f"{{{SEND}}}".encode(), Content_Type=content_type)
        problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json;charset=utf-8",
     "application/json; charset=UTF-8", 'application/json ; charset="utf-8"',
     "application/json; boundary=x", "application/json;"],
)  # fmt: skip
def test_json_may_be_spelt_in_every_way_that_http_allows(alice: User, content_type: str) -> None:
    problem(ask(alice, "/transactions", b"[]", Content_Type=content_type), 422, "validation_failed")


@pytest.mark.parametrize(
    "path",
    ["/%00", "/api/v1/%00", "/api/v1/transactions%00", "/api/v1/transactions/txn%2F1",
     "/api/v1//transactions", "//", "//api/v1/health", "/api/v1/transactions//", "/api", "/api/v2",
     "/api/v1/transactions/a/b", "/api/v1/../v1/health", "/%ff", "/%", "/%zz", "/docs/errors/%00",
     "/docs/assets/..%2f..%2fpipeline.py", "/docs/assets/%2e%2e", "/docs/errors/..", "/.env",
     "/API/v1/health", "/api/v1/transactions/%7Bid%7D/x", "/{id}",
     "/api/v1/accounts/%F0%9F%92%A9", f"/{'x' * 20_000}",
     "/api/v1/health;a=b"],
)  # fmt: skip
def test_a_path_that_is_none_of_ours_is_404(api: Api, path: str) -> None:
    problem(raw(api, f"GET {path} HTTP/1.1"), 404, "not_found")


@pytest.mark.parametrize(
    "path_id", ["%00", "txn_%00", "..", "%2e%2e", "{id}", "%7Bid%7D", "%ff", "txn_" + "x" * 20_000,
                "%0d%0aX-Evil:%201", "*", "txn_01h455vb4pex5vsknk084sn02q%00"]
)  # fmt: skip
def test_an_id_that_is_none_is_404(api: Api, alice: User, path_id: str) -> None:
    head = f"Authorization: Bearer {alice.token}"
    problem(raw(api, f"GET {TRANSACTIONS}/{path_id} HTTP/1.1", head), 404, "not_found")


@pytest.mark.parametrize(
    "query",
    ["%00", "cursor=%00", "cursor=%ff", "idempotency_key=%00", "counterparty_id=%00", "a" * 5_000,
     "a" * 60_000, "a" * 300_000,
     "status=%ED%A0%80", "limit=5&" * 2_000, "limit=%D9%A1", "=", "=1", "%", "limit=%", ";limit=5",
     "limit=5;limit=6", "a[]=1", "created_from=2026-01-31T12:00:00+00:00", "cursor=" + "A" * 4_000],
)  # fmt: skip
def test_a_query_that_is_none_is_refused(api: Api, alice: User, query: str) -> None:
    for path in (TRANSACTIONS, "/api/v1/accounts/entries"):
        answer = raw(api, f"GET {path}?{query} HTTP/1.1", f"Authorization: Bearer {alice.token}")
        assert answer.status in {400, 422}
        problem(answer, answer.status, answer.json()["code"])


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"X-Filler: {'x' * 30_000}", 422),
        (f"X-Idempotency-Key: {'k' * 30_000}", 400),
        (f"Authorization: Bearer {'x' * 30_000}", 401),
        ("Authorization: Bearer \x80\xff", 401),
        ("Authorization: Bearer", 401),
        ("X-Forwarded-For: \xff, ::, %00, 1.2.3.4.5", 422),
        (f"X-Request-Id: {'r' * 129}", 422),
        ("X-Request-Id: a b\x80", 422),
        ("traceparent: 00-zz-zz-zz", 422),
        ("Accept: text/html", 422),
        ("Expect: something", 422),
    ],
)
def test_odd_headers_never_break_anything(api: Api, alice: User, header: str, status: int) -> None:
    name = header.partition(":")[0]
    lines = [f"{n}: {v}" for n, v in head_of(alice).items() if n != name]
    answer = raw(
        api, f"POST {TRANSACTIONS} HTTP/1.1", *lines, header, "Content-Length: 2", content=b"[]"
    )
    assert answer.status == status
    problem(answer, status, answer.json()["code"])


@pytest.mark.parametrize(
    "lines",
    [["GET /\xff HTTP/1.1"], ["GET /livez?\xff HTTP/1.1"], ["BREW / HTTP/1.1"], ["GET ?a HTTP/1.1"],
     ["nonsense"], ["CONNECT finpay.test:1 HTTP/1.1"], ["get /livez HTTP/1.1"],
     ["GET /livez HTTP/1.1", "X-Idempotency-Key: a\x01b"], ["GET /livez HTTP/1.1", "X: a\x7fb"],
     ["POST /livez HTTP/1.1", "Content-Length: -1"], ["GET /livez HTTP/1.1", " folded"],
     ["POST /livez HTTP/1.1", "Content-Length: 1", "Content-Length: 2"],
     ["POST /livez HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"]],
)  # fmt: skip
def test_what_is_no_http_is_a_problem_too(api: Api, lines: list[str]) -> None:
    answer = raw(api, *lines)
    problem(answer, 400, "malformed_json")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
def test_a_method_that_the_path_does_not_know_is_405(api: Api, method: str) -> None:
    for path in ("/api/v1/transactions", "/api/v1/auth/login", "/livez", "/docs"):
        answer = raw(api, f"{method} {path} HTTP/1.1", "Content-Length: 0")
        problem(answer, 405, "method_not_allowed")
        assert "OPTIONS" in answer.headers["Allow"]


def head_of(user: User) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {user.token}",
        "Content-Type": "application/json",
        "X-Idempotency-Key": "never-used",
    }


def raw(api: Api, *lines: str, content: bytes = b"") -> HttpResponse:
    """A request as it is spelt, where no client library would send it."""
    port = int(api.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = "\r\n".join([lines[0], "Host: finpay.test", *lines[1:], "", ""])
        connection.sendall(head.encode("latin-1") + content)
        reply = HTTPResponse(connection)
        reply.begin()
        return HttpResponse(reply.status, httpx.Headers(reply.getheaders()), reply.read())
