"""The trace of an attempt is linked to the request that caused its event."""

from collections.abc import Callable
from typing import Any

from tests.api_process import Api
from tests.delivery.fixtures import System
from tests.delivery.receiver import Receiver, status
from tests.faults.api_probes import await_that
from tests.otlp_collector import Collector, Span, collecting


async def test_attempt_is_linked_to_the_request_of_its_event(
    system: System, serve: Callable[..., Api], receiver: Receiver
) -> None:
    with collecting() as collector:
        api = serve(
            DATABASE_URL=system.url,
            FINPAY_WEBHOOK_ALLOWED_CIDRS="127.0.0.0/8",
            **collector.settings,
        )
        alice, bob = api.user(100), api.user()
        url = receiver.url + "?token=kanarie"
        alice.client.create_webhook_endpoint(url, ["transaction.*"])
        bob.client.create_webhook_endpoint(receiver.url, ["transaction.*"])
        receiver.behave = lambda _: status(503 if len(receiver.requests) == 1 else 200)
        sent: Any = alice.send(bob, 1, "traced")
        worker = system.start_worker(**collector.settings, FINPAY_WEBHOOK_RETRY_SCHEDULE="0")
        receiver.await_requests(3)
        assert worker.stop() == 0
        request_id = sent.headers["X-Request-Id"]
        await_that("the request", lambda: of_kind(collector, "server", request_id))
        (request,) = of_kind(collector, "server", request_id)
        attempts = [span for span in collector.spans if span.service == "finpay-worker"]
        assert len(attempts) == 3, "one was answered with 503"
        assert [span.kind for span in attempts] == ["client"] * 3
        assert sorted(span.attributes["http.response.status_code"] for span in attempts) == [
            *(200, 200, 503)
        ]
        assert sorted(span.failed for span in attempts) == [False, False, True]
        linked = of_kind(collector, "client", request_id)
        assert linked, "the sender's event names its request, the receiver's does not"
        assert {span.service for span in linked} == {"finpay-worker"}
        assert all(span.links == [request.context] for span in linked)
        assert all(not span.links for span in attempts if span not in linked)
        assert "kanarie" not in repr(collector.spans)


def of_kind(collector: Collector, kind: str, request_id: str) -> list[Span]:
    return [
        span
        for span in list(collector.spans)
        if span.kind == kind and span.attributes.get("finpay.request_id") == request_id
    ]
