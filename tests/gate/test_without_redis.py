"""The gate while Redis is away: slower, never wrong, and in debt only for what it must tell."""

import asyncio

import pytest
from redis import Redis

from finpay.gate.gate import Completion
from tests.gate.requests import FINGERPRINT, Sessions, Visitor, left, open_gate, until
from tests.servers import OwnValkey


async def test_a_session_is_asked_for_in_postgresql_each_time(
    valkey: OwnValkey, visitor: Visitor
) -> None:
    sessions = Sessions()
    valkey.stop()
    async with open_gate(valkey.url, sessions) as gate:
        assert (await gate.admit(visitor.admission())).kind == "admitted"
        sessions.ended.add(visitor.session_id)
        decision = await gate.admit(visitor.admission(tiers=[visitor.tier("global", 1)]))
        assert (decision.kind, decision.limits, sessions.asked) == ("revoked", (), 2)


@pytest.mark.parametrize(("workers", "limit", "share"), [(4, 10, 2), (4, 3, 1), (1, 5, 5)])
async def test_each_process_keeps_its_share_of_a_limit(
    valkey: OwnValkey, visitor: Visitor, workers: int, limit: int, share: int
) -> None:
    tiers = [visitor.tier("wide", 10_000), visitor.tier("narrow", limit)]
    valkey.stop()
    async with open_gate(valkey.url, FINPAY_WORKERS=str(workers)) as gate:
        verdicts = [await gate.admit(visitor.admission(tiers=tiers)) for _ in range(share + 2)]
    kinds = [decision.kind for decision in verdicts]
    assert kinds == ["admitted"] * share + ["limited"] * 2
    wide = 10_000 // workers
    assert left(verdicts[-1]) == {"wide": wide - share, "narrow": 0}


async def test_tombstones_are_owed_and_are_the_first_that_redis_hears(
    valkey: OwnValkey, inside: Redis, visitor: Visitor
) -> None:
    """When the gate asks Redis again, no session is alive that ended meanwhile."""
    sessions = Sessions()
    others = [Visitor() for _ in range(20)]
    async with open_gate(valkey.url, sessions) as gate:
        for each in (visitor, *others):
            await gate.admit(each.admission())
        valkey.hang()
        for each in (visitor, *others):
            await gate.end_sessions(each.user, [each.session])
        assert gate.redis_down
        asked = sessions.asked
        valkey.resume()
        await until(lambda: not gate.redis_down)
        for each in (visitor, *others):
            assert (await gate.admit(each.admission())).kind == "revoked"
        assert sessions.asked == asked
        assert 0 < inside.pttl(visitor.marker) <= 900_000


async def test_nothing_is_owed_that_has_expired(
    valkey: OwnValkey, inside: Redis, visitor: Visitor
) -> None:
    """Redis takes no lifetime of zero: paying such a debt would go wrong for ever."""
    valkey.stop()
    async with open_gate(valkey.url, FINPAY_ACCESS_TOKEN_TTL="1") as gate:
        await gate.end_sessions(visitor.user, [visitor.session])
        await asyncio.sleep(1)  # as long as the token lives
        valkey.start()
        await until(lambda: not gate.redis_down)
        assert not inside.exists(visitor.marker)


async def test_keys_are_left_to_the_ledger(valkey: OwnValkey, visitor: Visitor) -> None:
    valkey.stop()
    async with open_gate(valkey.url) as gate:
        verdicts = [await gate.admit(visitor.write()) for _ in range(2)]
        assert [decision.kind for decision in verdicts] == ["admitted"] * 2
        admission = visitor.read()
        assert (await gate.admit(admission)).generation is None
        await gate.complete(visitor.write(), Completion((FINGERPRINT, 201, b"{}")))
        await gate.store_read(admission, "", 1, b"nothing keeps it")
