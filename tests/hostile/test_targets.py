"""Targets of requests with two readings: aliases of a path, and parameters that are not one text.

A proxy compares paths before it decodes them, so a path has one spelling. A query is UTF-8 without
replacement, and a parameter has one name and one key.
"""

from typing import Final
from urllib.parse import quote

import pytest

from tests.api_process import Api, User
from tests.hostile.exchange import HOST, connected, head
from tests.support.raw_http import Response

TRANSACTIONS: Final = "/api/v1/transactions"

INTERNAL: Final = [
    f"{prefix}{path}{suffix}"
    for path in ("metrics", "livez", "readyz")
    for prefix, suffix in (
        ("/", "/"), ("/", "%2f"), ("/", "%2F"), ("//", ""), ("/%2f", ""), ("/./", ""),
        ("/docs/../", ""), ("/docs/%2e%2e/", ""), ("/", "%00"), ("/", "%20"), ("/", ";a"),
        ("/", "//"), ("/", "/%2e"), ("/", "/."), ("/", "%3f"), ("/", "%252f"), ("/\\", ""),
        ("/", "\\"), ("/", "%5c"), ("/", "."), ("/", "%0d%0a"),
    )
]  # fmt: skip
OTHERS: Final = [
    "/%6detrics", "/metric%73", "/%6Detrics", "/METRICS", "/%4d%45%54%52%49%43%53", "/%6civez",
    "/%72eadyz", "http://finpay.test/metrics/", "http://finpay.test/%6detrics",
    "http://finpay.test//metrics", "/%ef%bd%8detrics", "/metrics%e2%80%8b", "/api/v1/%61ccounts",
    "/api/v1/accounts%2fentries", "/api/v1/transactions%2F", "/api%2fv1/health", "/%61pi/v1/health",
    "/api/v1%2fhealth", "/api/v1/./health", "/api/v1/health/.", "/api/v1/health%00",
    "/docs%2ferrors", "/docs/assets%2fdocs.css", "/docs/%61ssets/docs.css", "/openapi%2ejson",
    "/docs/errors/%6eot_found", "/api/v1/transactions/%ff", "/api/v1/transactions/txn_%c3%28",
    "/api/v1/transactions/%EF%BF%BD", "/api/v1/requests/%72eq_1",
]  # fmt: skip


@pytest.mark.fault("H11")
@pytest.mark.contract("1.5.1")
@pytest.mark.parametrize("target", [*INTERNAL, *OTHERS])
def test_path_has_one_spelling(api: Api, alice: User, target: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        token = f"Authorization: Bearer {alice.token}"
        found = ask(api, head(f"{method} {target} HTTP/1.1", HOST, token, "Content-Length: 0"))
        assert (found.status, found.code) == (404, "not_found"), method


NOT_UTF8: Final = (
    "%ff", "%80", "%c3", "%c3%28", "%c0%80", "%c0%af", "%ed%a0%80", "%ed%b0%80", "%f4%90%80%80",
    "%f8%88%80%80%80", "a%ffb", "%e2%82", "%fe%ff",
)  # fmt: skip
NO_ESCAPE: Final = ("%", "%z", "%4", "%zz", "a%", "%%34", "%u0041", "%2")
PARAMETERS: Final = [
    (TRANSACTIONS, "status"), (TRANSACTIONS, "idempotency_key"), (TRANSACTIONS, "counterparty_id"),
    (TRANSACTIONS, "metadata[a]"), (TRANSACTIONS, "created_from"), (TRANSACTIONS, "amount_min"),
    (TRANSACTIONS, "origin"), ("/api/v1/accounts/entries", "created_to"),
    ("/api/v1/accounts/balance", "at"), ("/api/v1/accounts/statement", "timezone"),
    ("/api/v1/events", "type"), ("/api/v1/holds", "status"), ("/api/v1/payment_requests", "status"),
    ("/api/v1/schedules", "limit"), ("/api/v1/withdrawals", "limit"),
    ("/api/v1/idempotency_keys", "key"), ("/api/v1/requests", "limit"),
    ("/api/v1/auth/sessions", "cursor"), (TRANSACTIONS, "cursor"), ("/api/v1/auth/me", "x"),
]  # fmt: skip


@pytest.mark.fault("H12")
@pytest.mark.parametrize(("path", "name"), PARAMETERS)
def test_value_that_is_no_text_is_refused_by_name(
    api: Api, alice: User, path: str, name: str
) -> None:
    for text in (*NOT_UTF8, *NO_ESCAPE):
        assert parameter_refused(api, alice, f"{path}?{name}={text}") == name, text


@pytest.mark.fault("H12")
@pytest.mark.parametrize("text", [*NOT_UTF8, *NO_ESCAPE])
def test_name_that_is_no_text_is_refused_by_name(api: Api, alice: User, text: str) -> None:
    """The name is shown with its escapes, as it can't be shown as text."""
    for name in (text, f"metadata[{text}]", f"status{text}"):
        assert parameter_refused(api, alice, f"{TRANSACTIONS}?{name}=x") == name


@pytest.mark.fault("H12")
def test_query_of_a_post_is_read_in_the_same_way(api: Api, alice: User, bob: User) -> None:
    before = alice.balance
    for number, query in enumerate(
        ("dry_run=%ff", "dry_run%ff=true", "%ff=1", "dry_run=tru%e", "")
    ):
        answer = alice.client.request(
            "POST",
            f"{TRANSACTIONS}?{query}",
            json={"receiver_id": bob.account_id, "amount": 1},
            headers={"X-Idempotency-Key": f"query-{number}"},
        )
        assert answer.status == (422 if query else 201), query
    assert alice.balance == before - 1


# Queries of the list of transactions: each has one reading, which is none of its parameters.
UNKNOWN: Final = [
    "metadata[a][b]=x", "metadata[a]b]=x", "metadata[a[b]=x", "metadata[[a]]]=x",
    "metadata[a]]=x", "metadata[[a]=x", "metadata[][a]=x", "metadata[a][]=x", "metadata[]=x",
    "metadata[=x", "metadata]=x", "metadata]x[=x", "metadata[a]x=x", "metadata[a=x",
    "metadata[=]=x", "metadata[a=b]=x", "metadata=x",
    "xmetadata[a]=x", "Metadata[a]=x", "metadata%5ba%5d%5bb%5d=x", "metadata[a%5d%5bb]=x",
    f"metadata[{'a' * 41}]=x", "metadata+[a]=x", "metadata.a=x", "[a]=x", "[]=x",
    "metadata[a]%00=x", "metadata%00[a]=x", "metadata[a%00]=x", "metadata[a]=%00", "metadata[%00]=",
    "metadata[a]=1&metadata[b]=2", "metadata[a]=1&metadata[a]=1", "metadata[a]=1&metadata=1",
    "status[]=completed", "status[0]=completed", "status[a]=completed", "limit[]=1", "limit[=1",
    "status=completed&status=completed", "status=completed&status=failed", "limit=1&limit=2",
    "status=completed&%73tatus=failed", "limit=1&limit", "=x", "=", "&=&", "+=x", "%20=x", "limit",
    "%20limit=1", "limit%20=1", "+limit=1", "limit=+1", "limit=1+", "limit=%2B1", "limit=1%20",
    "limit=01", "limit=1.0", "limit=1e1", "limit=0x1", "limit=%31%00", "limit=%EF%BC%91",
    "limit=1;status=completed", "status=completed;limit=1", ";", "limit=1,2", "LIMIT=1", "limit==1",
    "limit=1?status=completed", "status=completed%26limit=1", "limit%3D1", "?limit=1", "/limit=1",
    "status=Completed", "status=completed%0a", "status=completed+", "status=", "created_from=",
    "idempotency_key=", "idempotency_key=a+b", "idempotency_key=%C3%A9", "idempotency_key=a%00",
    "created_from=2026-01-31T12:00:00+02:00", "__proto__=x", "constructor[prototype]=x",
    "&".join(f"a{n}=1" for n in range(33)), "&" * 33 + "limit=1", "a" * 4_097, "limit=1&" * 4_000,
]  # fmt: skip


@pytest.mark.fault("H13")
@pytest.mark.parametrize("query", UNKNOWN)
def test_query_without_one_reading_is_refused(api: Api, alice: User, query: str) -> None:
    parameter_refused(api, alice, f"{TRANSACTIONS}?{query}")


READ: Final = [
    "", "&", "limit=1&", "&limit=1", "limit=1&&direction=sent", "%6cimit=%31", "limit=%31",
    "created_from=2026-01-31T12:00:00%2B02:00", "created_from=2026-01-31T12%3A00%3A00Z",
    "metadata[a]=", "metadata[a+b]=x", "metadata[a%2Bb]=x", "metadata[%3D]=x",
    "metadata[a%3Db]=x", "metadata[a%26b]=x", f"metadata[{quote('é😀')}]={quote('ü')}",
    f"metadata[{'a' * 40}]=x", "metadata%5Ba%5D=x", "metadata[a]=[b]", "metadata[[a]]=x",
    "metadata[a%5Bb%5D]=x", "metadata[a]=%25",
    "metadata[%EF%BF%BD]=%EF%BF%BD", "metadata[%F4%8F%BF%BF]=%C2%80", "metadata[;]=;",
    "idempotency_key=a%2Bb", "idempotency_key=%25", "idempotency_key=%22",
]  # fmt: skip


@pytest.mark.fault("H12")
@pytest.mark.parametrize("query", READ)
def test_query_with_one_reading_is_read(api: Api, alice: User, query: str) -> None:
    token = f"Authorization: Bearer {alice.token}"
    assert ask(api, head(f"GET {TRANSACTIONS}?{query} HTTP/1.1", HOST, token)).status == 200


def parameter_refused(api: Api, user: User, target: str) -> str:
    """The parameter that a 422 names."""
    token = f"Authorization: Bearer {user.token}"
    found = ask(api, head(f"GET {target} HTTP/1.1", HOST, token))
    assert (found.status, found.code) == (422, "validation_failed"), found.body
    (error,) = found.json()["errors"]
    return str(error["parameter"])


def ask(api: Api, request: bytes) -> Response:
    with connected(api.url) as connection:
        connection.send(request)
        found = connection.response()
    assert found is not None, "the connection was closed"
    return found
