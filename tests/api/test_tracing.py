"""Traces of a real server, as an OpenTelemetry collector receives them."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api_process import Api, User, running_api
from tests.faults.api_probes import await_that
from tests.otlp_collector import Collector, Span, collecting

TRANSACTIONS = "/api/v1/transactions"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CANARY = "kanarie-3f9b"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(
    collector: Collector, database_url: str, redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:  # fmt: skip
    folder = tmp_path_factory.mktemp("traced")
    with running_api(folder, database_url, redis_url, **collector.settings) as running:
        yield running


def request(user: User, method: str, path: str, **more: Any) -> str:
    """Sends a request and returns its request id."""
    headers = {"Authorization": f"Bearer {user.token}", **more.pop("headers", {})}
    answer = user.client.request(method, path, headers=headers, **more)
    return str(answer.headers["X-Request-Id"])


def span_of(collector: Collector, request_id: str) -> Span:
    def found() -> list[Span]:
        return [
            span
            for span in list(collector.spans)
            if span.kind == "server" and span.attributes["finpay.request_id"] == request_id
        ]

    await_that("its span", found)
    (span,) = found()
    return span


def children(collector: Collector, parent: Span) -> dict[str, Span]:
    """The child spans by name; they arrive with their parent or before it."""
    return {s.name: s for s in list(collector.spans) if (s.trace, s.parent) == parent.context}


def pay(sender: User, receiver: User, amount: int, **headers: str) -> str:
    body = {"receiver_id": receiver.account_id, "amount": amount, "description": CANARY}
    headers = {"X-Idempotency-Key": f"{CANARY}-{secrets.token_hex(8)}", **headers}
    return request(sender, "POST", TRANSACTIONS, json=body, headers=headers)


def test_a_transfer_is_a_request_a_gate_a_batch_and_a_statement(
    traced: Api, collector: Collector
) -> None:
    alice, bob = traced.user(100), traced.user()
    span = span_of(collector, pay(alice, bob, 1))
    assert (span.service, span.name, span.parent) == ("finpay-api", f"POST {TRANSACTIONS}", "")
    assert (
        span.attributes.items()
        >= {
            "http.request.method": "POST",
            "http.route": TRANSACTIONS,
            "http.response.status_code": 201,
        }.items()
    )
    inside = children(collector, span)
    assert inside.keys() == {"gate.admit", "ledger.post", "gate.complete"}
    assert inside["gate.admit"].attributes["finpay.gate.decision"] == "admitted"
    posted = inside["ledger.post"]
    assert posted.attributes["finpay.outcome"] == "completed"
    (batch,) = [s for s in collector.named("ledger.batch") if posted.context in s.links]
    assert (batch.parent, batch.trace != span.trace) == ("", True)
    assert posted.links == [batch.context]
    statement = children(collector, batch)["postgresql"]
    assert statement.attributes["db.system.name"] == "postgresql"
    assert "ledger.post_transfers" in statement.attributes["db.query.text"]


def test_a_batch_is_linked_to_all_its_requests(traced: Api, collector: Collector) -> None:
    alice, bob = traced.user(1_000), traced.user()
    with ThreadPoolExecutor(24) as threads:
        request_ids = list(threads.map(lambda _: pay(alice, bob, 1), range(120)))
    posted = {
        children(collector, span_of(collector, request_id))["ledger.post"].context
        for request_id in request_ids
    }
    batches = [s for s in collector.named("ledger.batch") if posted & set(s.links)]
    linked = [context for batch in batches for context in batch.links]
    assert sorted(linked) == sorted(posted), "each in one batch"
    assert len(batches) < len(request_ids), "transfers shared batches"
    for batch in batches:
        assert batch.attributes["finpay.batch.requests"] == len(batch.links)


def test_a_traceparent_is_the_parent(traced: Api, collector: Collector) -> None:
    alice, bob = traced.user(100), traced.user()
    span = span_of(collector, pay(alice, bob, 1, traceparent=f"00-{TRACE}-{PARENT}-01"))
    assert (span.trace, span.parent) == (TRACE, PARENT)
    unsampled = pay(alice, bob, 1, traceparent=f"00-{TRACE}-{PARENT}-00")
    broken = pay(alice, bob, 1, traceparent=f"00-{TRACE}-{'0' * 16}-01")
    assert span_of(collector, broken).parent == ""
    later = span_of(collector, request(alice, "GET", "/api/v1/auth/me"))
    assert later.trace != TRACE
    exported = [s.attributes.get("finpay.request_id") for s in collector.spans]
    assert unsampled not in exported, "the caller decides what is sampled"


def test_reads_and_refusals(traced: Api, collector: Collector) -> None:
    alice = traced.user()
    cold = span_of(collector, request(alice, "GET", "/api/v1/accounts"))
    inside = children(collector, cold)
    assert inside.keys() == {"gate.admit", "ledger.read", "gate.store_read"}
    (batch,) = [
        s for s in collector.named("ledger.reads") if inside["ledger.read"].context in s.links
    ]
    assert inside["ledger.read"].links == [batch.context]
    statement = children(collector, batch)["postgresql"]
    assert "ledger.accounts" in statement.attributes["db.query.text"]
    warm = span_of(collector, request(alice, "GET", "/api/v1/accounts"))
    assert children(collector, warm).keys() == {"gate.admit"}
    path = f"{TRANSACTIONS}/txn_{'0' * 26}"
    missing = span_of(collector, request(alice, "GET", path))
    assert missing.attributes["http.route"] == f"{TRANSACTIONS}/{{id}}"
    assert "url.path" not in missing.attributes, "clients may put anything there"
    assert missing.attributes["http.response.status_code"] == 404
    assert not missing.failed, "a refusal is not an error of the server"


def test_no_secret_is_in_any_span(traced: Api, collector: Collector) -> None:
    alice = traced.user(5)
    pay(alice, alice, 1)
    for path in (f"/{CANARY}", f"{TRANSACTIONS}/{CANARY}", f"/api/v1/accounts?x={CANARY}"):
        request(alice, "GET", path, headers={"X-Request-Id": "chosen", "tracestate": f"a={CANARY}"})
    request(alice, "POST", "/api/v1/auth/login", json={"email": alice.email, "password": CANARY})
    last = request(alice, "PURGE", "/livez")
    assert span_of(collector, last).attributes["http.request.method"] == "_OTHER"
    exported = repr(collector.spans)
    for secret in (CANARY, alice.email, "@example.com", alice.token):
        assert secret not in exported


def test_an_unreachable_collector_fails_no_request(serve: Callable[..., Api]) -> None:
    with collecting() as gone:
        settings = gone.settings
    api = serve(**settings)
    alice, bob = api.user(10), api.user()
    assert alice.send(bob, 1, "away").status == 201
    assert api.stop() == 0
