"""An event is delivered if and only if its transaction commits, however late that is."""

import asyncio
from typing import Final

import asyncpg

from finpay.webhooks import endpoints
from tests.delivery.fixtures import Scene
from tests.delivery.receiver import Receiver
from tests.sql.ledger_fixtures import Holder, fresh_key, transfer

ROLLED_BACK: Final = 1_000
OTHERS: Final = 100
LATE_S: Final = 5.0


async def test_a_thousand_rollbacks_tell_nothing(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url, "*")
    scene.work()
    connection = await asyncpg.connect(scene.url)
    await connection.execute("SET ROLE finpay_owner")
    for _ in range(ROLLED_BACK):
        attempt = connection.transaction()
        await attempt.start()
        await _fund(connection, hooked.holder)
        await attempt.rollback()
    await connection.close()
    await scene.events(hooked, 1)
    await scene.until_status(delivered=1)
    assert len(receiver.requests) == 1


async def test_a_late_commit_is_not_skipped(scene: Scene, receiver: Receiver) -> None:
    """It took its number first, and a hundred that came later are delivered before it commits."""
    # Another currency: its system account is not the one that the others need.
    holder = await scene.bank.open(currency="USD")
    await scene.hook(f"{receiver.url}/late", holder=holder)
    other = await scene.hook(receiver.url)
    scene.work()
    connection = await asyncpg.connect(scene.url)
    await connection.execute("SET ROLE finpay_owner")
    attempt = connection.transaction()
    await attempt.start()
    await _fund(connection, holder)
    await scene.events(other, OTHERS)
    await scene.until_status(delivered=OTHERS)
    await asyncio.sleep(LATE_S)  # the worker looks again and again, and sees nothing
    assert len(receiver.requests) == OTHERS
    await attempt.commit()
    await connection.close()
    await scene.until_status(delivered=OTHERS + 1)
    assert "/late" in receiver.requests[-1].line


async def test_transfers_reach_both_sides(scene: Scene, receiver: Receiver) -> None:
    """Through the posting function: completed for both, failed for the sender alone."""
    sender = await scene.hook(f"{receiver.url}/sender")
    taker = await scene.hook(f"{receiver.url}/taker")
    await scene.bank.fund(sender.holder, 100)
    stranger = await scene.bank.open(100)
    await scene.bank.post(
        transfer(sender.holder, taker.holder, 1),
        transfer(stranger, taker.holder, 1),
        transfer(sender.holder, stranger, 1_000),
        transfer(stranger, sender.holder, 1),
    )
    scene.drain()
    told = sorted(request.line.split("/")[2].split(" ")[0] for request in receiver.requests)
    assert told == ["sender"] * 4 + ["taker"] * 2
    assert await scene.statuses() == {"delivered": 6}


async def test_whoever_has_no_endpoint_costs_nothing(scene: Scene, receiver: Receiver) -> None:
    """The flag on the account follows its endpoints."""
    hooked = await scene.hook(receiver.url)
    assert await _subscribed(scene, hooked.holder)
    app, owner = scene.bank.app, hooked.owner
    await endpoints.update(app, owner, hooked.endpoint_id, {"enabled": False})
    assert not await _subscribed(scene, hooked.holder)
    second = await scene.hook(receiver.url, holder=hooked.holder)
    assert await _subscribed(scene, hooked.holder)
    await endpoints.delete(app, owner, second.endpoint_id)
    assert not await _subscribed(scene, hooked.holder)


async def _subscribed(scene: Scene, holder: Holder) -> bool:
    return bool((await scene.bank.account(holder))["subscribed"])


async def _fund(connection: asyncpg.Connection, holder: Holder) -> None:
    await connection.execute(
        "SELECT ledger.fund(gen_random_uuid(), $1, 1, $2, '')", holder.account_id, fresh_key()
    )
