"""After the storm: every request is sent again, webhooks arrive, and the evidence is gathered."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from finpay.db.pool import Database
from finpay.gate import redis_keys
from finpay.ledger import verify
from torture import ledger_snapshot
from torture.checker import Evidence, due
from torture.cluster import API_CONNECTIONS, WORKER_CONNECTIONS, ask_valkey
from torture.history import Intent
from torture.raw_http import Line, NoAnswer

if TYPE_CHECKING:
    from torture.run import Stage

RESOLVE_LIMIT_S: Final = 30.0
DRAIN_LIMIT_S: Final = 60.0
CLAIM_LIMIT_S: Final = 10.5  # the promise is 10 s after whoever claimed the key is gone

# Counts the keys that are claimed and not settled. Nothing is in flight when it is asked.
_CLAIMED: Final = (
    "EVAL \"local n = 0 for _, key in ipairs(redis.call('KEYS', '{pattern}')) do "
    "if string.sub(redis.call('GET', key) or '', 1, 1) == 'C' then n = n + 1 end end return n\" 0"
)


async def gather(stage: "Stage") -> Evidence:
    """All that the verdict needs, when every request has its final answer or ran out of time."""
    crowd, wallets = stage.crowd, [wallet.account for wallet in stage.crowd.wallets]
    stage.say(f"Sending {len(stage.journal.intents)} requests again …")
    still_open = await crowd.resolve(RESOLVE_LIMIT_S)
    stage.say("Waiting for webhooks …")
    before = await ledger_snapshot.read(stage.database)
    await stage.receiver.drain(due(before, wallets), DRAIN_LIMIT_S)
    stage.say("Comparing …")
    told = [balance async for balance in _told_balances(stage)]
    remains = [sentence async for sentence in _remains(stage, still_open)]
    return Evidence(
        intents=stage.journal.intents,
        truth=await ledger_snapshot.read(stage.database),
        wallets=wallets,
        total=crowd.total,
        told_balances=dict(told),
        bank_reads=stage.watch.impossible + stage.journal.impossible,
        strange_answers=stage.journal.strange,
        violations=[sentence async for sentence in _violations(stage.database)],
        remains=remains,
        delivered=frozenset(stage.receiver.delivered),
        strange_deliveries=stage.receiver.strange,
    )


async def _told_balances(stage: "Stage") -> AsyncIterator[tuple[str, int]]:
    line = Line(stage.crowd.ports, 0)
    for wallet in stage.crowd.wallets:
        try:
            headers = {"Authorization": f"Bearer {wallet.token}"}
            answer = await line.ask("GET", "/api/v1/accounts", headers)
            yield wallet.account, answer.json().get("balance", -1)
        except NoAnswer:
            yield wallet.account, -1
    line.drop()


async def _remains(stage: "Stage", still_open: list[Intent]) -> AsyncIterator[str]:
    for intent in still_open:
        yield f"{intent.key} has no final answer after {RESOLVE_LIMIT_S:.0f} s"
    if claimed := await _stuck(stage.rig.valkey.port):
        yield f"{claimed} keys are still claimed, by nobody"
    connections, idle = await ledger_snapshot.sessions(stage.database)
    if idle:
        yield f"{idle} sessions are idle in a transaction"
    allowed = API_CONNECTIONS * len(stage.rig.apis) + WORKER_CONNECTIONS
    if connections > allowed:
        yield f"{connections} connections, of which the pools have {allowed}"
    if stage.watch.deadlocks:
        yield f"PostgreSQL had to break {stage.watch.deadlocks} deadlocks"


async def _stuck(port: int) -> int:
    """Keys that stay claimed for longer than a claim may outlive its process."""
    command = _CLAIMED.format(pattern=redis_keys.idempotency_key("*", "*"))
    until = time.monotonic() + CLAIM_LIMIT_S
    while (claimed := int((await ask_valkey(port, command)).removeprefix(":"))) > 0:
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.5)
    return claimed


async def _violations(database: Database) -> AsyncIterator[str]:
    report = await verify.verify(database)
    for check in report.checks:
        for sentence in check.violations:
            yield f"{check.name}: {sentence}"
