"""The gate while Redis is unavailable: sessions, limits, keys and deferred tombstones."""

import asyncio

import pytest
from redis import Redis

from finpay.gate.gate import Completion
from tests.gate.requests import FINGERPRINT, Caller, Sessions, left, open_gate, until
from tests.servers import OwnValkey


async def test_a_session_is_read_from_postgresql_for_each_request(
    valkey: OwnValkey, caller: Caller
) -> None:
    sessions = Sessions()
    valkey.stop()
    async with open_gate(valkey.url, sessions) as gate:
        assert (await gate.admit(caller.admission())).kind == "admitted"
        sessions.ended.add(caller.session_id)
        decision = await gate.admit(caller.admission(tiers=[caller.tier("global", 1)]))
        assert (decision.kind, decision.limits, sessions.queries) == ("revoked", (), 2)


@pytest.mark.parametrize(("workers", "limit", "share"), [(4, 10, 2), (4, 3, 1), (1, 5, 5)])
async def test_each_process_admits_its_share_of_a_limit(
    valkey: OwnValkey, caller: Caller, workers: int, limit: int, share: int
) -> None:
    tiers = [caller.tier("wide", 10_000), caller.tier("narrow", limit)]
    valkey.stop()
    async with open_gate(valkey.url, FINPAY_WORKERS=str(workers)) as gate:
        decisions = [await gate.admit(caller.admission(tiers=tiers)) for _ in range(share + 2)]
    kinds = [decision.kind for decision in decisions]
    assert kinds == ["admitted"] * share + ["limited"] * 2
    wide = 10_000 // workers
    assert left(decisions[-1]) == {"wide": wide - share, "narrow": 0}


async def test_deferred_tombstones_are_written_before_redis_is_used(
    valkey: OwnValkey, inside: Redis, caller: Caller
) -> None:
    """When the gate uses Redis again, sessions that ended meanwhile are revoked there."""
    sessions = Sessions()
    others = [Caller() for _ in range(20)]
    async with open_gate(valkey.url, sessions) as gate:
        for each in (caller, *others):
            await gate.admit(each.admission())
        valkey.hang()
        for each in (caller, *others):
            await gate.end_sessions(each.user, [each.session])
        assert gate.redis_down
        queries = sessions.queries
        valkey.resume()
        await until(lambda: not gate.redis_down)
        for each in (caller, *others):
            assert (await gate.admit(each.admission())).kind == "revoked"
        assert sessions.queries == queries
        assert 0 < inside.pttl(caller.marker) <= 900_000


async def test_expired_tombstones_are_not_written(
    valkey: OwnValkey, inside: Redis, caller: Caller
) -> None:
    """Redis refuses a time to live of zero, so writing one would fail for ever."""
    valkey.stop()
    async with open_gate(valkey.url, FINPAY_ACCESS_TOKEN_TTL="1") as gate:
        await gate.end_sessions(caller.user, [caller.session])
        await asyncio.sleep(1)  # the lifetime of the token
        valkey.start()
        await until(lambda: not gate.redis_down)
        assert not inside.exists(caller.marker)


async def test_keys_are_decided_by_the_ledger(valkey: OwnValkey, caller: Caller) -> None:
    valkey.stop()
    async with open_gate(valkey.url) as gate:
        decisions = [await gate.admit(caller.write()) for _ in range(2)]
        assert [decision.kind for decision in decisions] == ["admitted"] * 2
        admission = caller.read()
        assert (await gate.admit(admission)).generation is None
        await gate.complete(caller.write(), Completion((FINGERPRINT, 201, b"{}")))
        await gate.store_read(admission, "", 1, b"not stored")
