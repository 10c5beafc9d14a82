"""What arrives is a Standard Webhook: their own library says so of every one."""

import json
from typing import Final

import pytest
from standardwebhooks.webhooks import Webhook

from finpay import ids
from finpay.outbox import events
from finpay.webhooks import endpoints
from tests.delivery.fixtures import Scene
from tests.delivery.receiver import Receiver

DELIVERIES: Final = 1_000


@pytest.mark.contract("6.3.2")
async def test_their_library_verifies_a_thousand(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url)
    await scene.many_events(hooked, DELIVERIES)
    scene.drain()
    assert await scene.statuses() == {"delivered": DELIVERIES}
    assert len(receiver.requests) == len(receiver.ids) == DELIVERIES
    theirs = Webhook(hooked.secret)
    for request in receiver.requests:
        told = theirs.verify(request.body, request.headers)
        assert told["id"] == request.id
    await scene.verify()


@pytest.mark.contract("6.3.2")
async def test_the_request(scene: Scene, receiver: Receiver) -> None:
    """The body is the event as the API answers it, byte for byte."""
    hooked = await scene.hook(f"{receiver.url}?a=b%20c", "*")
    await scene.events(hooked, 1)
    scene.drain()
    (request,) = receiver.requests
    assert request.line == "POST /hook?a=b%20c HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("FinPay")
    place = (hooked.holder.account_id, 1)
    told = (await events.by_keys(scene.bank.app, [place]))[place]
    assert request.body == events.encode_event(told)
    assert request.id == told.id
    assert ids.decode("evt", request.id).version == 8
    assert len(request.body) < 20_000


async def test_both_secrets_sign_during_a_rotation(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url)
    rotated = await endpoints.rotate_secret(
        scene.bank.app, hooked.owner, hooked.endpoint_id, overlap_s=3_600
    )
    assert rotated is not None
    await scene.events(hooked, 1)
    scene.drain()
    (request,) = receiver.requests
    for secret in (hooked.secret, rotated[1]):
        assert Webhook(secret).verify(request.body, request.headers)
    assert len(request.headers["webhook-signature"].split(" ")) == 2


async def test_a_retired_secret_signs_no_more(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url)
    rotated = await endpoints.rotate_secret(
        scene.bank.app, hooked.owner, hooked.endpoint_id, overlap_s=0
    )
    assert rotated is not None
    await scene.events(hooked, 1)
    scene.drain()
    (request,) = receiver.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 1
    assert Webhook(rotated[1]).verify(request.body, request.headers)


async def test_only_what_was_asked_for(scene: Scene, receiver: Receiver) -> None:
    """A whole type, a group, everything; and nothing to an endpoint that is off."""
    holder = await scene.bank.open()
    for event_types in (["account.updated"], ["transaction.*"], ["*"], ["session.*"]):
        await scene.hook(f"{receiver.url}/{event_types[0]}", *event_types, holder=holder)
    hooked = await scene.hook(f"{receiver.url}/off", "*", holder=holder, enabled=False)
    await scene.events(hooked, 1)
    await scene.bank.freeze(holder)
    scene.drain()
    told = [(r.line.split("/")[2].split(" ")[0], json.loads(r.body)["type"])
            for r in receiver.requests]  # fmt: skip
    assert sorted(told) == [
        ("*", "account.updated"),
        ("*", "transaction.completed"),
        ("account.updated", "account.updated"),
        ("transaction.*", "transaction.completed"),
    ]
