"""An endpoint created over HTTP: its receiver's requests, and the deliveries that the API shows."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import standardwebhooks

from finpay.client import FinPay, WebhookEndpoint, webhooks
from tests.api_process import Api, User
from tests.delivery.receiver import Receiver, Request, status

LIMIT_S: Final = 30
LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Setup:
    """An API and its worker, alice with an endpoint, and bob to send to."""

    api: Api
    alice: User
    bob: User
    receiver: Receiver
    endpoint: WebhookEndpoint

    @property
    def client(self) -> FinPay:
        return self.alice.client

    def send(self, key: str) -> None:
        assert self.alice.send(self.bob, 1, key).status == 201

    def deliver_due(self) -> list[Request]:
        """The requests that `finpay worker --once` sends."""
        before = len(self.receiver.requests)
        done = subprocess.run(
            [sys.executable, "-m", "finpay", "worker", "--once"],
            env={
                "PATH": os.environ["PATH"],
                "DATABASE_URL": self.api.database_url,
                "FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8",
                "FINPAY_WEBHOOK_RETRY_SCHEDULE": "3600",
            },
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return self.receiver.requests[before:]

    def only(self) -> Request:
        (request,) = self.deliver_due()
        return request


@pytest.fixture
def setup(
    serve: Callable[..., Api], fresh_database: Callable[[], str], receiver: Receiver
) -> Setup:
    api = serve(DATABASE_URL=fresh_database(), FINPAY_WEBHOOK_ALLOWED_CIDRS="127.0.0.0/8")
    alice, bob = api.user(1_000), api.user()
    endpoint = alice.client.create_webhook_endpoint(receiver.url, ["transaction.*"])
    return Setup(api, alice, bob, receiver, endpoint)


def verified(request: Request, *secrets: str) -> Any:
    """The event; each secret alone verifies it, with the reference library and with ours."""
    for secret in secrets:
        event = webhooks.verify(request.body, request.headers, secret)
        assert standardwebhooks.Webhook(secret).verify(request.body, request.headers) == event
    return event


def secret_of(endpoint: WebhookEndpoint) -> str:
    assert endpoint.secret is not None
    return endpoint.secret


def test_receiver_gets_the_event_that_the_owner_reads(setup: Setup) -> None:
    setup.send("one")
    request = setup.only()
    event = verified(request, secret_of(setup.endpoint))
    assert (request.id, event.type) == (event.id, "transaction.completed")
    assert request.body == setup.alice.get(f"/events/{event.id}").body
    (delivery,) = setup.client.deliveries(setup.endpoint.id)
    assert (delivery.event_id, delivery.status) == (event.id, "delivered")
    (attempt,) = delivery.attempts
    assert (attempt.http_status, attempt.error, attempt.answer) == (200, None, "ok")
    assert delivery.next_attempt_at is None
    assert delivery.finished_at is not None
    assert setup.client.delivery(delivery.id) == delivery


def test_ping_is_delivered(setup: Setup) -> None:
    pinged = setup.client.ping_webhook_endpoint(setup.endpoint.id)
    event = verified(setup.only(), secret_of(setup.endpoint))
    assert (event.type, event.sequence) == ("webhook_endpoint.ping", 0)
    assert (event.id, event.data["object"]["id"]) == (pinged.event_id, setup.endpoint.id)
    assert "secret" not in event.data["object"]
    assert setup.client.delivery(pinged.id).status == "delivered"


def test_both_secrets_sign_during_a_rotation(setup: Setup) -> None:
    old = secret_of(setup.endpoint)
    new = secret_of(setup.client.rotate_webhook_secret(setup.endpoint.id, overlap_s=600))
    setup.send("one")
    verified(setup.only(), old, new)
    last = secret_of(setup.client.rotate_webhook_secret(setup.endpoint.id, overlap_s=0))
    setup.send("two")
    request = setup.only()
    verified(request, last)
    for expired in (old, new):
        with pytest.raises(webhooks.InvalidSignature):
            webhooks.verify(request.body, request.headers, expired)


def test_failed_delivery_is_shown_and_can_be_retried(setup: Setup) -> None:
    setup.receiver.behave = lambda _: status(500, body="n" * 5_000)
    setup.send("one")
    first = setup.only()
    (delivery,) = setup.client.deliveries(setup.endpoint.id, status="pending")
    (attempt,) = delivery.attempts
    assert (attempt.http_status, attempt.error) == (500, "bad_status")
    assert attempt.answer == "n" * 2_048
    assert delivery.next_attempt_at is not None
    assert setup.client.webhook_endpoint(setup.endpoint.id).failing_since is not None
    assert setup.deliver_due() == [], "the retry is not due yet"
    setup.receiver.behave = lambda _: status(204)
    assert setup.client.retry_delivery(delivery.id).status == "pending"
    retried = setup.only()
    assert (retried.id, retried.body) == (first.id, first.body)
    delivered = setup.client.delivery(delivery.id)
    assert [each.http_status for each in delivered.attempts] == [500, 204]
    assert delivered.status == "delivered"
    assert setup.client.webhook_endpoint(setup.endpoint.id).failing_since is None


def test_replay_delivers_all_events_of_the_range(setup: Setup) -> None:
    for number in range(3):
        setup.send(f"{number}")
    first = setup.deliver_due()
    assert len(first) == 3
    assert setup.client.replay_events(setup.endpoint.id, LONG_AGO, only_failed=True) == 0
    # with the funding of alice, which is older than the endpoint
    assert setup.client.replay_events(setup.endpoint.id, LONG_AGO) == 4
    replayed = setup.deliver_due()
    assert len(replayed) == 4
    assert {request.id for request in replayed} > {request.id for request in first}


def test_disabled_or_deleted_endpoint_gets_no_event(setup: Setup) -> None:
    setup.send("one")
    setup.client.update_webhook_endpoint(setup.endpoint.id, enabled=False)
    setup.send("two")
    assert setup.deliver_due() == []
    (canceled,) = setup.client.deliveries(setup.endpoint.id)
    assert canceled.status == "canceled"
    setup.client.update_webhook_endpoint(
        setup.endpoint.id, enabled=True, event_types=["account.updated"]
    )
    setup.send("three")
    assert setup.deliver_due() == [], "not one of its event types"
    setup.client.delete_webhook_endpoint(setup.endpoint.id)
    setup.send("four")
    assert setup.deliver_due() == []
    setup.api.verify()
