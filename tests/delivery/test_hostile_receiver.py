"""Everything arrives, whatever the receiver does and however often the worker is killed."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from tests.delivery.fixtures import Scene
from tests.delivery.receiver import DROP, HANG, OK, Behaviour, Receiver, Request, receiving, status

EVENTS: Final = 1_000
KILLS: Final = 20
PATIENCE_S: Final = 90.0


def moody() -> Behaviour:
    """Fails 30 %, hangs 10 % and drops 10 %, by the request's id and how often it came."""
    seen: Counter[str] = Counter()

    def behave(request: Request) -> bytes:
        seen[request.id] += 1
        mood = hashlib.sha256(f"{request.id} {seen[request.id]}".encode()).digest()[0] % 10
        return {0: HANG, 1: DROP, 2: status(500), 3: status(503), 4: status(404)}.get(mood, OK)

    return behave


@pytest.fixture
def moody_receiver() -> Iterator[Receiver]:
    with receiving(moody()) as running:
        yield running


@pytest.mark.contract("3.1.6")
async def test_a_thousand_events_and_twenty_kills(scene: Scene, moody_receiver: Receiver) -> None:
    settings = {
        "FINPAY_WEBHOOK_TIMEOUT": "1",
        "FINPAY_WEBHOOK_RETRY_SCHEDULE": ",".join(["0"] * 40),
        "FINPAY_WEBHOOK_CONCURRENCY": "32",
    }
    hooked = await scene.hook(moody_receiver.url)
    await scene.many_events(hooked, EVENTS)
    for n in range(1, KILLS + 1):
        worker = scene.work(**settings)
        # Somewhere in the work: each generation gets a bit further before it dies.
        moody_receiver.await_requests(n * EVENTS // (2 * KILLS))
        worker.kill()
    assert (await scene.statuses()).get("delivered", 0) < EVENTS
    last = scene.work(**settings)
    await scene.until_status(PATIENCE_S, delivered=EVENTS)
    assert last.stop() == 0
    assert len(moody_receiver.ids) == EVENTS
    assert moody_receiver.most_at_once <= 2 * 32  # those of the dead were still being answered
    await scene.verify()


async def test_a_killed_worker_is_missed_at_once(scene: Scene, receiver: Receiver) -> None:
    """Its leases don't wait for their end: its connection is gone."""
    receiver.behave = lambda _: HANG
    hooked = await scene.hook(receiver.url)
    await scene.many_events(hooked, 3)
    dead = scene.work()
    receiver.await_requests(3)
    dead.kill()
    receiver.behave = lambda _: OK
    scene.work()
    await scene.until_status(3, delivered=3)
    assert Counter(request.id for request in receiver.requests) == dict.fromkeys(receiver.ids, 2)


async def test_a_worker_that_stops_gives_back_what_hangs(scene: Scene, receiver: Receiver) -> None:
    receiver.behave = lambda _: HANG
    hooked = await scene.hook(receiver.url)
    await scene.many_events(hooked, 2)
    worker = scene.work()
    receiver.await_requests(2)
    worker.process.terminate()
    await asyncio.sleep(0.1)  # a second signal says: at once
    assert worker.stop() == 0, worker.log.read_text()
    assert await scene.statuses() == {"pending": 2}
    assert not await scene.bank.count("webhooks.workers", "true")
    assert not await scene.attempts(hooked)


async def test_a_worker_that_stops_lets_arrive_what_is_on_its_way(
    scene: Scene, receiver: Receiver
) -> None:
    hooked = await scene.hook(receiver.url)
    worker = scene.work()

    def behave(_: Request) -> bytes:
        worker.process.terminate()
        return OK

    receiver.behave = behave
    await scene.many_events(hooked, 1)
    assert worker.wait() == 0
    assert await scene.statuses() == {"delivered": 1}
