"""Workers release the money of expired holds: soon, and without holding up payments."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from finpay.ledger import limits
from tests.delivery.fixtures import System
from tests.sql.hold_fixtures import end_holds, hold_many
from tests.sql.ledger_fixtures import Holder, transfer

SENDERS = 1_000
OF_EACH = 100
MEASURED_S = 3.0
LIMIT_S = 40.0  # it takes 6 s on a machine of two cores that does nothing else


@pytest.mark.contract("8.3.2")
async def test_held_falls_within_5_seconds(system: System) -> None:
    alice, bob = await system.bank.open(100), await system.bank.open()
    request = await system.bank.hold(alice, bob, 40)
    worker = system.start_worker()
    async with asyncio.timeout(20):
        while not worker.lines():
            await asyncio.sleep(0.1)
    await end_holds(system.bank, request.id)
    async with asyncio.timeout(5):
        while await system.bank.held(alice):
            await asyncio.sleep(0.1)
    await system.verify()


@pytest.mark.contract("7.8.4", "7.8.5")
async def test_a_raised_limit_is_written_when_its_day_is_over(system: System) -> None:
    alice = await system.bank.open(100)
    for single in (10, 20):
        wanted = limits.Change(alice.user_id, "req", None, True, single, False, None)
        assert await limits.change(system.bank.app, wanted) is not None
    await system.bank.owner.execute(
        "UPDATE ledger.account_limits SET effective_at = now() WHERE account_id = $1",
        alice.account_id,
    )
    system.start_worker()
    async with asyncio.timeout(30):
        while (await system.bank.account(alice))["limit_single"] != 20:
            await asyncio.sleep(0.1)
    updates = "account_id = $1 AND type = 'account.updated'"
    assert await system.bank.count("outbox.events", updates, alice.account_id) == 3
    await system.verify()


async def test_100_000_holds_expire_while_their_receiver_is_paid(system: System) -> None:
    receiver, payer = await system.bank.open(1), await system.bank.open(10**6)
    usual_s: list[float] = []
    async with _paying(system, payer, receiver, usual_s):
        await asyncio.sleep(MEASURED_S)
    await hold_many(system.bank, receiver, senders=SENDERS, of_each=OF_EACH)
    meanwhile_s: list[float] = []
    async with _paying(system, payer, receiver, meanwhile_s):
        system.start_worker()
        while not await _expired(system):
            await asyncio.sleep(0.05)
        start = time.monotonic()
        while await system.bank.count("ledger.holds", "status = 'open'"):
            await asyncio.sleep(0.1)
        took_s = time.monotonic() - start
    print(f"{took_s:.1f} s, payments p99 {_p99(usual_s):.4f} s, then {_p99(meanwhile_s):.4f} s")
    assert took_s < LIMIT_S
    assert await system.bank.count("ledger.accounts", "held <> 0") == 0
    assert (
        await system.bank.count("outbox.events", "type = 'hold.expired'") == 2 * SENDERS * OF_EACH
    )


@asynccontextmanager
async def _paying(
    system: System, payer: Holder, receiver: Holder, latencies_s: list[float]
) -> AsyncIterator[None]:
    """Pays the receiver again and again, and notes how long each payment takes."""

    async def pay() -> None:
        while True:
            start = time.perf_counter()
            assert await system.bank.outcome(transfer(payer, receiver, 1)) == "completed"
            latencies_s.append(time.perf_counter() - start)
            await asyncio.sleep(0.005)

    task = asyncio.create_task(pay())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _expired(system: System) -> bool:
    rows = await system.bank.app.fetch("SELECT FROM ledger.holds WHERE status = 'expired' LIMIT 1")
    return bool(rows)


def _p99(latencies_s: list[float]) -> float:
    return sorted(latencies_s)[int(len(latencies_s) * 0.99)]
