"""What a worker does with failures, with slow receivers, and with other workers beside it."""

import asyncio
import json
import signal
import statistics
from collections import Counter
from typing import Final

import asyncpg
import pytest

from tests.delivery.fixtures import Hooked, Scene
from tests.delivery.receiver import HANG, OK, Receiver, receiving, status, until

WAITS: Final = 60


async def test_a_failure_comes_again_with_the_same_id(scene: Scene, receiver: Receiver) -> None:
    receiver.behave = lambda _: OK if len(receiver.requests) > 2 else status(500, body="broken")
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    scene.work(FINPAY_WEBHOOK_RETRY_SCHEDULE="0,1,1")
    await scene.until_status(delivered=1)
    first, second, third = receiver.requests
    assert first.id == second.id == third.id
    assert first.body == second.body == third.body
    assert first.headers["webhook-timestamp"] <= second.headers["webhook-timestamp"]
    assert 0.8 <= third.at_s - second.at_s < 4
    told = [(a["number"], a["http_status"], a["error"], a["answer"])
            for a in await scene.attempts(hooked)]  # fmt: skip
    assert told == [(1, 500, "bad_status", "broken"), (2, 500, "bad_status", "broken"),
                    (3, 200, None, "ok")]  # fmt: skip
    assert (await scene.endpoint(hooked))["failures_in_row"] == 0


async def test_an_exhausted_schedule_is_a_failure(scene: Scene, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(500)
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    scene.work(FINPAY_WEBHOOK_RETRY_SCHEDULE="0,0")
    await scene.until_status(failed=1)
    assert len(receiver.requests) == 3
    assert (await scene.endpoint(hooked))["first_failing_at"] is not None


async def test_retry_after_is_honoured(scene: Scene, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(503, "Retry-After: 3000")
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    scene.drain(FINPAY_WEBHOOK_RETRY_SCHEDULE="0,0")
    row = await scene.bank.row(
        "SELECT status, due_at - clock_timestamp() AS wait FROM webhooks.deliveries"
    )
    assert row["status"] == "scheduled"
    assert 2_900 < row["wait"].total_seconds() <= 3_000


@pytest.mark.contract("6.3.5")
async def test_410_disables_and_tells_the_others(scene: Scene, receiver: Receiver) -> None:
    receiver.behave = lambda request: status(410) if "/gone" in request.line else OK
    hooked = await scene.hook(f"{receiver.url}/gone")
    await scene.hook(f"{receiver.url}/other", "webhook_endpoint.*", holder=hooked.holder)
    await scene.events(hooked, 2)
    scene.work()
    until(lambda: any("/other" in request.line for request in receiver.requests))
    endpoint = await scene.endpoint(hooked)
    assert (endpoint["enabled"], endpoint["disabled_reason"]) == (False, "gone")
    told = [json.loads(r.body) for r in receiver.requests if "/other" in r.line]
    assert [event["type"] for event in told] == ["webhook_endpoint.disabled"]
    assert told[0]["data"]["object"]["disabled_reason"] == "gone"
    assert told[0]["data"]["previous"] == {"enabled": True, "disabled_reason": None}
    assert told[0]["actor"] is None
    assert await scene.bank.count("audit.log", "action = 'webhook_endpoint.disabled'") == 1
    await scene.verify()


@pytest.mark.contract("6.3.5")
async def test_days_of_failure_disable(scene: Scene, receiver: Receiver) -> None:
    """Not the first failure after a long time, and not with a success in between."""
    receiver.behave = lambda _: status(500)
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    scene.drain()
    assert (await scene.endpoint(hooked))["enabled"]
    await _failing_since(scene, minutes=-1)
    await scene.events(hooked, 1)
    scene.drain()
    assert (await scene.endpoint(hooked))["enabled"]
    await _failing_since(scene, minutes=1)
    await scene.events(hooked, 1)
    scene.drain()
    endpoint = await scene.endpoint(hooked)
    assert (endpoint["enabled"], endpoint["disabled_reason"]) == (False, "failing")
    assert await scene.bank.count("audit.log", "action = 'webhook_endpoint.disabled'") == 1


async def test_what_waits_for_a_disabled_endpoint_is_canceled(
    scene: Scene, receiver: Receiver
) -> None:
    hooked = await scene.hook(receiver.url)
    await scene.many_events(hooked, 1_500)
    await scene.bank.app.execute(
        "UPDATE webhooks.endpoints SET enabled = false, disabled_at = now(), "
        "disabled_reason = 'owner'"
    )
    scene.drain()
    assert await scene.statuses() == {"canceled": 1_500}
    assert not receiver.requests


async def test_an_endpoint_gets_no_more_at_once_than_its_bound(
    scene: Scene, receiver: Receiver
) -> None:
    """Over two workers together."""
    receiver.behave = lambda _: HANG
    hooked = await scene.hook(receiver.url)
    await scene.many_events(hooked, 50)
    settings = {"FINPAY_WEBHOOK_CONCURRENCY": "5", "FINPAY_WEBHOOK_TIMEOUT": "1"}
    scene.work(**settings)
    scene.work(**settings)
    receiver.await_requests(10)
    assert receiver.most_at_once <= 5


async def test_one_that_hangs_slows_nobody_else(scene: Scene, receiver: Receiver) -> None:
    """It has a backlog that would fill every worker, and the others' p95 stays."""
    with receiving(lambda _: HANG) as hanging:
        hung = await scene.hook(hanging.url)
        hooked = await scene.hook(receiver.url)
        scene.work(FINPAY_WEBHOOK_TIMEOUT="5")
        await _p95_ms(scene, receiver, hooked)  # connections, plans
        alone = await _p95_ms(scene, receiver, hooked)
        await scene.many_events(hung, 5_000)
        hanging.await_requests(64)
        beside = await _p95_ms(scene, receiver, hooked)
    # A loaded machine has pauses of its own, which are no part of the promise.
    assert beside < alone * 1.2 + 50, (alone, beside)


async def test_two_workers_share_and_send_nothing_twice(scene: Scene, receiver: Receiver) -> None:
    hooked = [await scene.hook(receiver.url) for _ in range(4)]
    scene.work()
    scene.work()
    await scene.until_workers(2)
    for _ in range(5):
        for one in hooked:
            await scene.many_events(one, 20)
    await scene.until_status(delivered=400)
    assert Counter(request.id for request in receiver.requests) == dict.fromkeys(receiver.ids, 1)
    workers = await scene.bank.app.fetch("SELECT id FROM webhooks.workers")
    assert len(workers) == 2


async def test_a_wake_up_call_is_heard_at_once(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url)
    scene.work()
    await scene.events(hooked, 1)
    receiver.await_requests(1)
    connection = await asyncpg.connect(scene.url)
    waits = []
    for n in range(2, 12):
        await scene.events(hooked, 1)
        await connection.execute("NOTIFY finpay_webhooks")
        told_s = asyncio.get_running_loop().time()
        receiver.await_requests(n)
        waits.append(receiver.requests[-1].at_s - told_s)
    await connection.close()
    assert statistics.median(waits) < 0.3  # by the poll alone it would be half a second


async def test_a_worker_that_hangs_loses_its_leases(scene: Scene, receiver: Receiver) -> None:
    """It is alive for the kernel and for PostgreSQL, and says nothing."""
    receiver.behave = lambda _: HANG
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    frozen = scene.work()
    receiver.await_requests(1)
    frozen.process.send_signal(signal.SIGSTOP)
    receiver.behave = lambda _: OK
    scene.work()
    await scene.until_status(10, delivered=1)
    frozen.process.send_signal(signal.SIGCONT)


async def _p95_ms(scene: Scene, receiver: Receiver, hooked: Hooked) -> float:
    """From commit to arrival, one event at a time."""
    connection = await asyncpg.connect(scene.url)
    waits = []
    for _ in range(WAITS):
        before = len(receiver.requests)
        await scene.events(hooked, 1)
        await connection.execute("NOTIFY finpay_webhooks")
        told_s = asyncio.get_running_loop().time()
        receiver.await_requests(before + 1)
        waits.append((receiver.requests[before].at_s - told_s) * 1_000)
    await connection.close()
    return statistics.quantiles(waits, n=20)[-1]


async def _failing_since(scene: Scene, *, minutes: int) -> None:
    """Five days and so many minutes ago."""
    await scene.bank.app.execute(
        "UPDATE webhooks.endpoints SET first_failing_at = "
        "clock_timestamp() - make_interval(days => 5, mins => $1)",
        minutes,
    )
