"""From an endpoint that is made over HTTP to what its receiver gets, and back to what is told."""

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
class World:
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

    def work(self) -> list[Request]:
        """What comes when the worker has delivered all that is due."""
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
        (request,) = self.work()
        return request


@pytest.fixture
def world(
    serve: Callable[..., Api], fresh_database: Callable[[], str], receiver: Receiver
) -> World:
    api = serve(DATABASE_URL=fresh_database(), FINPAY_WEBHOOK_ALLOWED_CIDRS="127.0.0.0/8")
    alice, bob = api.user(1_000), api.user()
    endpoint = alice.client.create_webhook_endpoint(receiver.url, ["transaction.*"])
    return World(api, alice, bob, receiver, endpoint)


def verified(request: Request, *secrets: str) -> Any:
    """The event; each secret alone verifies it, with the reference library and with ours."""
    for secret in secrets:
        event = webhooks.verify(request.body, request.headers, secret)
        assert standardwebhooks.Webhook(secret).verify(request.body, request.headers) == event
    return event


def secret_of(endpoint: WebhookEndpoint) -> str:
    assert endpoint.secret is not None
    return endpoint.secret


def test_the_receiver_verifies_what_the_owner_sees(world: World) -> None:
    world.send("one")
    request = world.only()
    event = verified(request, secret_of(world.endpoint))
    assert (request.id, event.type) == (event.id, "transaction.completed")
    assert request.body == world.alice.get(f"/events/{event.id}").body
    (delivery,) = world.client.deliveries(world.endpoint.id)
    assert (delivery.event_id, delivery.status) == (event.id, "delivered")
    (attempt,) = delivery.attempts
    assert (attempt.http_status, attempt.error, attempt.answer) == (200, None, "ok")
    assert delivery.next_attempt_at is None
    assert delivery.finished_at is not None
    assert world.client.delivery(delivery.id) == delivery


def test_a_ping_arrives(world: World) -> None:
    pinged = world.client.ping_webhook_endpoint(world.endpoint.id)
    event = verified(world.only(), secret_of(world.endpoint))
    assert (event.type, event.sequence) == ("webhook_endpoint.ping", 0)
    assert (event.id, event.data["object"]["id"]) == (pinged.event_id, world.endpoint.id)
    assert "secret" not in event.data["object"]
    assert world.client.delivery(pinged.id).status == "delivered"


def test_while_the_secret_is_replaced_both_sign(world: World) -> None:
    old = secret_of(world.endpoint)
    new = secret_of(world.client.rotate_webhook_secret(world.endpoint.id, overlap_s=600))
    world.send("one")
    verified(world.only(), old, new)
    last = secret_of(world.client.rotate_webhook_secret(world.endpoint.id, overlap_s=0))
    world.send("two")
    request = world.only()
    verified(request, last)
    for ended in (old, new):
        with pytest.raises(webhooks.InvalidSignature):
            webhooks.verify(request.body, request.headers, ended)


def test_what_failed_is_seen_and_sent_once_more(world: World) -> None:
    world.receiver.behave = lambda _: status(500, body="n" * 5_000)
    world.send("one")
    first = world.only()
    (delivery,) = world.client.deliveries(world.endpoint.id, status="pending")
    (attempt,) = delivery.attempts
    assert (attempt.http_status, attempt.error) == (500, "bad_status")
    assert attempt.answer == "n" * 2_048
    assert delivery.next_attempt_at is not None
    assert world.client.webhook_endpoint(world.endpoint.id).failing_since is not None
    assert world.work() == [], "not before its time"
    world.receiver.behave = lambda _: status(204)
    assert world.client.retry_delivery(delivery.id).status == "pending"
    again = world.only()
    assert (again.id, again.body) == (first.id, first.body)
    healed = world.client.delivery(delivery.id)
    assert [each.http_status for each in healed.attempts] == [500, 204]
    assert healed.status == "delivered"
    assert world.client.webhook_endpoint(world.endpoint.id).failing_since is None


def test_a_replay_brings_it_all_once_more(world: World) -> None:
    for number in range(3):
        world.send(f"{number}")
    first = world.work()
    assert len(first) == 3
    assert world.client.replay_events(world.endpoint.id, LONG_AGO, only_failed=True) == 0
    # alice's own funding too, which was before the endpoint
    assert world.client.replay_events(world.endpoint.id, LONG_AGO) == 4
    again = world.work()
    assert len(again) == 4
    assert {request.id for request in again} > {request.id for request in first}


def test_what_is_switched_off_or_deleted_gets_nothing(world: World) -> None:
    world.send("one")
    world.client.update_webhook_endpoint(world.endpoint.id, enabled=False)
    world.send("two")
    assert world.work() == []
    (canceled,) = world.client.deliveries(world.endpoint.id)
    assert canceled.status == "canceled"
    world.client.update_webhook_endpoint(
        world.endpoint.id, enabled=True, event_types=["account.updated"]
    )
    world.send("three")
    assert world.work() == [], "not a type that it waits for"
    world.client.delete_webhook_endpoint(world.endpoint.id)
    world.send("four")
    assert world.work() == []
    world.api.verify()
