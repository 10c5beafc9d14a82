"""An event is delivered if and only if its transaction commits, however late that is."""

import asyncio
from typing import Final

import asyncpg

from finpay.webhooks import endpoints
from tests.delivery.fixtures import System
from tests.delivery.receiver import Receiver
from tests.sql.ledger_fixtures import Holder, fresh_key, transfer

ROLLED_BACK: Final = 1_000
OTHERS: Final = 100
LATE_S: Final = 5.0


async def test_rolled_back_transactions_cause_no_delivery(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url, "*")
    system.start_worker()
    connection = await asyncpg.connect(system.url)
    await connection.execute("SET ROLE finpay_owner")
    for _ in range(ROLLED_BACK):
        attempt = connection.transaction()
        await attempt.start()
        await _fund(connection, endpoint.holder)
        await attempt.rollback()
    await connection.close()
    await system.add_events(endpoint, 1)
    await system.until_status(delivered=1)
    assert len(receiver.requests) == 1


async def test_late_commit_is_delivered(system: System, receiver: Receiver) -> None:
    """Its event got its sequence first; events of other accounts are delivered before it."""
    # In another currency, so that it locks another system account than the others.
    holder = await system.bank.open(currency="USD")
    await system.add_endpoint(f"{receiver.url}/late", holder=holder)
    other = await system.add_endpoint(receiver.url)
    system.start_worker()
    connection = await asyncpg.connect(system.url)
    await connection.execute("SET ROLE finpay_owner")
    attempt = connection.transaction()
    await attempt.start()
    await _fund(connection, holder)
    await system.add_events(other, OTHERS)
    await system.until_status(delivered=OTHERS)
    await asyncio.sleep(LATE_S)  # the worker polls several times meanwhile
    assert len(receiver.requests) == OTHERS
    await attempt.commit()
    await connection.close()
    await system.until_status(delivered=OTHERS + 1)
    assert "/late" in receiver.requests[-1].line


async def test_transfer_is_delivered_to_both_sides(system: System, receiver: Receiver) -> None:
    """The posting function records `completed` for both sides and `failed` for the sender."""
    sender = await system.add_endpoint(f"{receiver.url}/sender")
    payee = await system.add_endpoint(f"{receiver.url}/payee")
    await system.bank.fund(sender.holder, 100)
    unsubscribed = await system.bank.open(100)
    await system.bank.post(
        transfer(sender.holder, payee.holder, 1),
        transfer(unsubscribed, payee.holder, 1),
        transfer(sender.holder, unsubscribed, 1_000),
        transfer(unsubscribed, sender.holder, 1),
    )
    system.deliver_due()
    paths = sorted(request.line.split("/")[2].split(" ")[0] for request in receiver.requests)
    assert paths == ["payee"] * 2 + ["sender"] * 4
    assert await system.statuses() == {"delivered": 6}


async def test_account_is_subscribed_while_it_has_an_enabled_endpoint(
    system: System, receiver: Receiver
) -> None:
    """Without the flag `subscribed`, a transfer enqueues no delivery."""
    endpoint = await system.add_endpoint(receiver.url)
    assert await _subscribed(system, endpoint.holder)
    app, owner = system.bank.app, endpoint.owner
    await endpoints.update(app, owner, endpoint.id, {"enabled": False})
    assert not await _subscribed(system, endpoint.holder)
    second = await system.add_endpoint(receiver.url, holder=endpoint.holder)
    assert await _subscribed(system, endpoint.holder)
    await endpoints.delete(app, owner, second.id)
    assert not await _subscribed(system, endpoint.holder)


async def _subscribed(system: System, holder: Holder) -> bool:
    return bool((await system.bank.account(holder))["subscribed"])


async def _fund(connection: asyncpg.Connection, holder: Holder) -> None:
    await connection.execute(
        "SELECT ledger.fund(gen_random_uuid(), $1, 1, $2, '')", holder.account_id, fresh_key()
    )
