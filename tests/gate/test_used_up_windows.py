"""Clients without a token whose window is used up cost Redis nothing for a moment."""

import asyncio
import time

import pytest
from redis import Redis

from finpay.gate.gate import Gate
from finpay.gate.rate_limits import LimitState
from finpay.gate.used_up_windows import MAX_REMEMBERED, REMEMBERED_S, UsedUpWindows
from tests.gate.requests import Caller, left, open_gate
from tests.gate.test_redis_client import script_calls_of
from tests.servers import OwnValkey


@pytest.fixture
def redis_url(valkey: OwnValkey) -> str:
    """A Valkey of this test, whose commands are counted."""
    return valkey.url


async def test_a_refusal_is_repeated_without_redis(
    gate: Gate, caller: Caller, redis: Redis
) -> None:
    tiers = [caller.tier("global", 9), caller.tier("auth_address", 2)]
    for _ in range(2):
        await gate.admit_anonymous(tiers)
    first = await gate.admit_anonymous(tiers)
    calls = script_calls_of(redis)
    started_s = time.monotonic()
    later = [await gate.admit_anonymous(tiers), await gate.peek(tiers)]
    assert later == [first, first]
    assert (first.kind, left(first)) == ("limited", {"global": 7, "auth_address": 0})
    assert script_calls_of(redis) == calls or time.monotonic() - started_s > REMEMBERED_S
    await asyncio.sleep(REMEMBERED_S)
    assert (await gate.admit_anonymous(tiers)).kind == "limited"
    assert script_calls_of(redis) == calls + 1


async def test_a_refusal_of_a_check_is_remembered_with_the_costs_of_requests(
    gate: Gate, caller: Caller
) -> None:
    tiers = [caller.tier("auth_address", 1)]
    await gate.admit_anonymous(tiers)
    seen = await gate.peek(tiers)
    assert seen == await gate.admit_anonymous(tiers)
    assert [state.tier.cost for state in seen.limits] == [1]


async def test_other_tiers_are_asked_for(gate: Gate, caller: Caller) -> None:
    """The one of an address does not refuse another; nor a request with fewer tiers."""
    full = [caller.tier("global", 9), caller.tier("auth_address", 1)]
    for _ in range(2):
        last = await gate.admit_anonymous(full)
    assert last.kind == "limited"
    assert (await gate.admit_anonymous(full[:1])).kind == "admitted"
    assert (await gate.admit_anonymous([Caller().tier("auth_address", 1)])).kind == "admitted"


async def test_a_login_ends_the_refusals_of_its_email_at_once(gate: Gate, caller: Caller) -> None:
    tiers = [caller.tier("auth_address", 9), caller.email_tier(1)]
    for _ in range(2):
        last = await gate.admit_anonymous(tiers)
    assert last.kind == "limited"
    await gate.forget_failed_logins(tiers)
    assert (await gate.admit_anonymous(tiers)).kind == "admitted"


async def test_a_window_that_ends_is_open_at_once(gate: Gate, caller: Caller, redis: Redis) -> None:
    """Its last second, which a refusal may be rounded up to, is asked for each time."""
    tiers = [caller.tier("auth_address", 1, window_s=1)]
    for _ in range(2):
        last = await gate.admit_anonymous(tiers)
    assert last.kind == "limited"
    redis.delete(tiers[0].key)
    assert (await gate.admit_anonymous(tiers)).kind == "admitted"


async def test_a_refusal_without_redis_is_not_remembered(caller: Caller) -> None:
    async with open_gate("redis://127.0.0.1:1/0") as alone:
        tiers = [caller.tier("auth_address", 1)]
        kinds = [(await alone.admit_anonymous(tiers)).kind for _ in range(2)]
        assert kinds == ["admitted", "limited"]
        assert (await alone.admit_anonymous(tiers)).degraded


def test_any_number_of_clients_takes_bounded_memory() -> None:
    windows = UsedUpWindows()
    tiers = [Caller().tier("auth_address", 1) for _ in range(MAX_REMEMBERED + 1)]
    for tier in tiers:
        windows.add((LimitState(tier, remaining=0, reset_s=900),))
    assert windows.find(tiers[-1:])
    assert not windows.find(tiers[:1])
