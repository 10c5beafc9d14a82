"""An event that can't be decoded is set aside: its delivery is canceled, all others go on."""

from typing import Any, Final

import msgspec
import pytest

from finpay.outbox import events
from finpay.outbox.events import Filters
from finpay.webhooks import deliveries
from tests.delivery.fixtures import System
from tests.delivery.receiver import Receiver

# As outbox.record, which refuses such data: what a faulty migration or a restore could leave.
RECORD: Final = """
WITH account AS (
    UPDATE ledger.accounts SET sequence = sequence + 1 WHERE user_id = $1 RETURNING id, sequence
), event AS (
    INSERT INTO outbox.events (account_id, sequence, created_at, type, data)
    SELECT id, sequence, clock_timestamp(), 'session.revoked', $2::text::json FROM account
    RETURNING account_id, sequence, type
)
SELECT webhooks.enqueue(array_agg(account_id), array_agg(sequence), array_agg(type)) FROM event
"""
READABLE: Final = '{"id":"ses_1"}'


@pytest.mark.fault("M5")
@pytest.mark.parametrize(
    "data",
    [
        '{"id":' + "[" * 1_500 + "]" * 1_500 + "}",
        '{"id":' + "[" * (events.MAX_DEPTH + 1) + "]" * (events.MAX_DEPTH + 1) + "}",
        '{"id":"\\ud800"}',
        "[1]",
    ],
)
async def test_unreadable_event_cancels_its_delivery_and_no_other(
    system: System, receiver: Receiver, data: str
) -> None:
    endpoint = await system.add_endpoint(receiver.url, "*")
    for subject in (READABLE, data, READABLE):
        await system.bank.owner.execute(RECORD, endpoint.holder.user_id, subject)
    other = await system.add_endpoint(f"{receiver.url}/other", "*")
    await system.add_events(other, 1)
    worker = system.start_worker("--once")
    assert worker.wait() == 0
    assert await system.statuses() == {"delivered": 3, "canceled": 1}
    errors = [(a["error"], a["http_status"]) for a in await system.attempts(endpoint)]
    assert sorted(errors, key=str) == [("event_unreadable", None), (None, 200), (None, 200)]
    (line,) = [line for line in worker.lines() if line["event"] == "event_unreadable"]
    assert (line["level"], line["type"]) == ("error", "session.revoked")


@pytest.mark.fault("M5")
@pytest.mark.parametrize(
    ("poison", "statuses"),
    [
        ("UPDATE webhooks.deliveries SET attempts = 2147483647 WHERE endpoint_id = $1",
         {"delivered": 10, "canceled": 1}),
        ("UPDATE webhooks.deliveries SET retry_index = 32767 WHERE endpoint_id = $1",
         {"delivered": 10, "canceled": 1}),
        ("UPDATE webhooks.endpoints SET failures_in_row = 2147483647 WHERE id = $1",
         {"delivered": 10, "scheduled": 1}),
    ],
)  # fmt: skip
async def test_attempt_that_can_not_be_recorded_is_set_aside(
    system: System, receiver: Receiver, poison: str, statuses: dict[str, int]
) -> None:
    """What the app's role can write: the attempts of all others are recorded, and sent once."""
    refused = await system.add_endpoint("http://127.0.0.1:1/")  # no server
    await system.add_events(refused, 1)
    await system.bank.app.execute(poison, refused.id)
    other = await system.add_endpoint(receiver.url)
    await system.add_events(other, 10)
    worker = system.start_worker("--once")
    assert worker.wait() == 0
    assert await system.statuses() == statuses
    assert len(receiver.requests) == 10
    lines = [line for line in worker.lines() if line["event"] == "attempt_not_recorded"]
    assert len(lines) == statuses.get("canceled", 0)


async def test_unreadable_event_is_listed_with_an_empty_object(system: System) -> None:
    holder = await system.bank.open()
    depth = 1_500
    for subject in (READABLE, '{"id":' + "[" * depth + "]" * depth + "}"):
        await system.bank.owner.execute(RECORD, holder.user_id, subject)
    found = await events.list_before(
        system.bank.app, holder.account_id, Filters(), before=None, limit=10
    )
    listed: list[Any] = [msgspec.json.decode(events.encode_event(event)) for event in found.events]
    assert [event["sequence"] for event in listed] == [2, 1]
    assert listed[0]["type"] == "session.revoked"
    assert [event["data"]["object"] for event in listed] == [{}, {"id": "ses_1"}]
    assert [events.is_readable(event) for event in found.events] == [False, True]


async def test_unreadable_ping_is_canceled_and_listed(system: System, receiver: Receiver) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    await system.bank.app.execute(
        "INSERT INTO webhooks.deliveries (id, endpoint_id, account_id, created_at, due_at, "
        "event_type, payload) VALUES (webhooks.new_id(), $1, $2, now(), now(), 'ping', 'no JSON')",
        endpoint.id,
        endpoint.holder.account_id,
    )
    await system.add_events(endpoint, 1)
    system.deliver_due()
    assert await system.statuses() == {"delivered": 1, "canceled": 1}
    found = await deliveries.list_(
        system.bank.app, endpoint.id, status="canceled", before=None, limit=10
    )
    assert [attempt.error for attempt in found[0].attempts] == ["event_unreadable"]
    assert found[0].event_id.startswith("evt_")
