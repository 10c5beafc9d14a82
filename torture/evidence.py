"""After the faults: requests are resolved, webhooks arrive, and the run's data is collected."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

from finpay.db.pool import Database
from finpay.gate import redis_keys
from finpay.ledger import verify
from tests.support.raw_http import NoResponse
from torture import ledger_snapshot
from torture.checker import RunData, due_deliveries
from torture.cluster import API_CONNECTIONS, WORKER_CONNECTIONS, ask_valkey
from torture.context import RunContext
from torture.history import MoneyRequest
from torture.http_client import Client
from torture.ledger_snapshot import LedgerSnapshot

RESOLVE_LIMIT_S: Final = 30.0
DELIVERY_LIMIT_S: Final = 60.0
WORKER_LIMIT_S: Final = 15.0  # a killed worker's leases of schedules end after 15 s at most
POLL_S: Final = 0.5
CLAIM_LIMIT_S: Final = 10.5  # a claim is freed within 10 s after its process exited

# Counts the keys that are claimed and not completed. No request is in flight at that time.
_CLAIMED: Final = (
    "EVAL \"local n = 0 for _, key in ipairs(redis.call('KEYS', '{pattern}')) do "
    "if string.sub(redis.call('GET', key) or '', 1, 1) == 'C' then n = n + 1 end end return n\" 0"
)


async def collect(context: RunContext) -> RunData:
    """All that the checker needs, after every request has its final answer or ran out of time."""
    clients, history = context.clients, context.history
    wallets = [wallet.account for wallet in clients.wallets]
    context.progress(f"Resending {len(history.requests)} requests …")
    still_open = await clients.resolve(RESOLVE_LIMIT_S)
    context.progress("Waiting for webhooks …")
    overdue = await _await_workers(context.database)
    ledger, received = await _await_webhooks(context, wallets)
    context.progress("Checking …")
    return RunData(
        api_balances=dict([balance async for balance in _api_balances(context)]),
        leftovers=[sentence async for sentence in _leftovers(context, still_open, overdue)],
        requests=history.requests,
        ledger=ledger,
        wallets=wallets,
        total=clients.total,
        impossible_reads=context.monitor.impossible + history.impossible_reads,
        undocumented_answers=history.undocumented_answers,
        verifier_failures=[sentence async for sentence in _verifier_failures(context.database)],
        delivered=received,
        differing_deliveries=context.deliveries.differing,
    )


async def _await_workers(database: Database) -> dict[str, int]:
    """What is still overdue after the time that a worker needs after the faults."""
    until = time.monotonic() + WORKER_LIMIT_S
    while overdue := await ledger_snapshot.overdue(database):
        if time.monotonic() > until:
            break
        await asyncio.sleep(POLL_S)
    return overdue


async def _await_webhooks(
    context: RunContext, wallets: list[str]
) -> tuple[LedgerSnapshot, frozenset[tuple[int, str]]]:
    """The ledger, and what was delivered before it was read. Holds expire meanwhile, so it is read
    again until nothing new is due, or the time is over."""
    until = time.monotonic() + DELIVERY_LIMIT_S
    ledger = await ledger_snapshot.read(context.database)
    while True:
        due = due_deliveries(ledger, wallets)
        await context.deliveries.await_all(due, max(0.1, until - time.monotonic()))
        received = frozenset(context.deliveries.received)
        ledger = await ledger_snapshot.read(context.database)
        if due_deliveries(ledger, wallets) == due or time.monotonic() > until:
            return ledger, received


async def _api_balances(context: RunContext) -> AsyncIterator[tuple[str, int]]:
    client = Client(context.clients.ports)
    for wallet in context.clients.wallets:
        try:
            headers = {"Authorization": f"Bearer {wallet.token}"}
            response = await client.request("GET", "/api/v1/accounts", headers)
            yield wallet.account, response.json().get("balance", -1)
        except NoResponse:
            yield wallet.account, -1
    client.reset()


async def _leftovers(
    context: RunContext, still_open: list[MoneyRequest], overdue: dict[str, int]
) -> AsyncIterator[str]:
    for name, number in overdue.items():
        yield f"{number} {name} are overdue by more than 5 s"
    for request in still_open:
        yield f"{request.key} has no final answer after {RESOLVE_LIMIT_S:.0f} s"
    if claimed := await _count_claimed(context.cluster.valkey.port):
        yield f"{claimed} keys are still claimed, without a process that holds the claim"
    connections, idle = await ledger_snapshot.sessions(context.database)
    if idle:
        yield f"{idle} sessions are idle in a transaction"
    allowed = API_CONNECTIONS * len(context.cluster.apis) + WORKER_CONNECTIONS
    if connections > allowed:
        yield f"{connections} connections; the pools have {allowed} at most"
    if context.monitor.deadlocks:
        yield f"PostgreSQL ended {context.monitor.deadlocks} deadlocks"


async def _count_claimed(port: int) -> int:
    """Keys that stay claimed for longer than a claim may outlive its process."""
    command = _CLAIMED.format(pattern=redis_keys.idempotency_key("*", "*"))
    until = time.monotonic() + CLAIM_LIMIT_S
    while (claimed := int((await ask_valkey(port, command)).removeprefix(":"))) > 0:
        if time.monotonic() > until:
            break
        await asyncio.sleep(POLL_S)
    return claimed


async def _verifier_failures(database: Database) -> AsyncIterator[str]:
    report = await verify.verify(database)
    for check in report.checks:
        for sentence in check.violations:
            yield f"{check.name}: {sentence}"
