"""Every delivery is a Standard Webhook, by the reference library."""

import json
from typing import Final

import pytest
from standardwebhooks.webhooks import Webhook

from finpay import ids
from finpay.outbox import events
from finpay.webhooks import endpoints
from tests.delivery.fixtures import System
from tests.delivery.receiver import Receiver

DELIVERIES: Final = 1_000


@pytest.mark.contract("6.3.2")
async def test_reference_library_verifies_a_thousand_deliveries(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_many_events(endpoint, DELIVERIES)
    system.deliver_due()
    assert await system.statuses() == {"delivered": DELIVERIES}
    assert len(receiver.requests) == len(receiver.ids) == DELIVERIES
    reference = Webhook(endpoint.secret)
    for request in receiver.requests:
        event = reference.verify(request.body, request.headers)
        assert event["id"] == request.id
    await system.verify()


@pytest.mark.contract("6.3.2")
async def test_request_has_the_headers_and_body_of_the_contract(
    system: System, receiver: Receiver
) -> None:
    """The body equals the event of GET /events/{id}, byte for byte."""
    endpoint = await system.add_endpoint(f"{receiver.url}?a=b%20c", "*")
    await system.add_events(endpoint, 1)
    system.deliver_due()
    (request,) = receiver.requests
    assert request.line == "POST /hook?a=b%20c HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("FinPay")
    key = (endpoint.holder.account_id, 1)
    event = (await events.by_keys(system.bank.app, [key]))[key]
    assert request.body == events.encode_event(event)
    assert request.id == event.id
    assert ids.decode("evt", request.id).version == 8
    assert len(request.body) < 20_000


async def test_both_secrets_sign_during_a_rotation(system: System, receiver: Receiver) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    rotated = await endpoints.rotate_secret(
        system.bank.app, endpoint.owner, endpoint.id, overlap_s=3_600
    )
    assert rotated is not None
    await system.add_events(endpoint, 1)
    system.deliver_due()
    (request,) = receiver.requests
    for secret in (endpoint.secret, rotated[1]):
        assert Webhook(secret).verify(request.body, request.headers)
    assert len(request.headers["webhook-signature"].split(" ")) == 2


async def test_old_secret_does_not_sign_after_the_overlap(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    rotated = await endpoints.rotate_secret(
        system.bank.app, endpoint.owner, endpoint.id, overlap_s=0
    )
    assert rotated is not None
    await system.add_events(endpoint, 1)
    system.deliver_due()
    (request,) = receiver.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 1
    assert Webhook(rotated[1]).verify(request.body, request.headers)


async def test_endpoint_gets_only_its_event_types(system: System, receiver: Receiver) -> None:
    """A type, a group or all; a disabled endpoint gets no event."""
    holder = await system.bank.open()
    for event_types in (["account.updated"], ["transaction.*"], ["*"], ["session.*"]):
        await system.add_endpoint(f"{receiver.url}/{event_types[0]}", *event_types, holder=holder)
    endpoint = await system.add_endpoint(
        f"{receiver.url}/disabled", "*", holder=holder, enabled=False
    )
    await system.add_events(endpoint, 1)
    await system.bank.freeze(holder)
    system.deliver_due()
    received = [(r.line.split("/")[2].split(" ")[0], json.loads(r.body)["type"])
            for r in receiver.requests]  # fmt: skip
    assert sorted(received) == [
        ("*", "account.updated"),
        ("*", "transaction.completed"),
        ("account.updated", "account.updated"),
        ("transaction.*", "transaction.completed"),
    ]
