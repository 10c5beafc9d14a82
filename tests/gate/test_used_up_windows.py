"""Clients without a token whose window is used up cost Redis nothing for a moment."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis import Redis

from finpay.gate import used_up_windows
from finpay.gate.gate import Decision, Gate
from finpay.gate.rate_limits import LimitState
from finpay.gate.used_up_windows import MAX_REMEMBERED, REMEMBERED_S, UsedUpWindows
from tests.gate.requests import Caller, left, open_gate
from tests.gate.test_redis_client import script_calls_of
from tests.servers import OwnValkey


@pytest.fixture
def redis_url(valkey: OwnValkey) -> str:
    """A Valkey of this test, whose commands are counted."""
    return valkey.url


@pytest.fixture
def long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than any of these tests takes; the windows are longer still."""
    monkeypatch.setattr(used_up_windows, "REMEMBERED_S", 300.0)


@pytest.mark.parametrize("ask", [Gate.admit_anonymous, Gate.peek], ids=["request", "check"])
@pytest.mark.usefixtures("long_memory")
async def test_a_refusal_is_repeated_without_redis(
    gate: Gate, caller: Caller, redis: Redis, ask: Callable[..., Awaitable[Decision]]
) -> None:
    tiers = [caller.tier("global", 9), caller.tier("auth_address", 2)]
    for _ in range(2):
        await gate.admit_anonymous(tiers)
    first = await ask(gate, tiers)
    calls = script_calls_of(redis)
    assert [await gate.admit_anonymous(tiers), await gate.peek(tiers)] == [first, first]
    assert script_calls_of(redis) == calls
    assert (first.kind, left(first)) == ("limited", {"global": 7, "auth_address": 0})
    assert [state.tier.cost for state in first.limits] == [1, 1]


async def test_redis_is_asked_after_a_moment(gate: Gate, caller: Caller, redis: Redis) -> None:
    tiers = [caller.tier("auth_address", 1)]
    for _ in range(2):
        await gate.admit_anonymous(tiers)
    await asyncio.sleep(REMEMBERED_S)
    calls = script_calls_of(redis)
    assert (await gate.admit_anonymous(tiers)).kind == "limited"
    assert script_calls_of(redis) == calls + 1


@pytest.mark.usefixtures("long_memory")
async def test_other_tiers_are_asked_for(gate: Gate, caller: Caller) -> None:
    """The one of an address does not refuse another; nor a request with fewer tiers."""
    full = [caller.tier("global", 9), caller.tier("auth_address", 1)]
    for _ in range(2):
        last = await gate.admit_anonymous(full)
    assert last.kind == "limited"
    assert (await gate.admit_anonymous(full[:1])).kind == "admitted"
    assert (await gate.admit_anonymous([Caller().tier("auth_address", 1)])).kind == "admitted"


@pytest.mark.usefixtures("long_memory")
async def test_a_login_ends_the_refusals_of_its_email_at_once(gate: Gate, caller: Caller) -> None:
    tiers = [caller.tier("auth_address", 9), caller.email_tier(1)]
    for _ in range(2):
        last = await gate.admit_anonymous(tiers)
    assert last.kind == "limited"
    await gate.forget_failed_logins(tiers)
    assert (await gate.admit_anonymous(tiers)).kind == "admitted"


@pytest.mark.usefixtures("long_memory")
def test_the_last_second_of_a_window_is_asked_for() -> None:
    """The seconds of a refusal are rounded up: the window may end at any moment."""
    windows = UsedUpWindows()
    tier = Caller().tier("auth_address", 1)
    for reset_s, is_found in ((1, False), (2, True)):
        states = (LimitState(tier, remaining=0, reset_s=reset_s),)
        windows.add(states)
        assert windows.find([tier]) == (states if is_found else None)


async def test_a_refusal_without_redis_is_not_remembered(caller: Caller) -> None:
    async with open_gate("redis://127.0.0.1:1/0") as alone:
        tiers = [caller.tier("auth_address", 1)]
        kinds = [(await alone.admit_anonymous(tiers)).kind for _ in range(2)]
        assert kinds == ["admitted", "limited"]
        assert (await alone.admit_anonymous(tiers)).degraded


@pytest.mark.usefixtures("long_memory")
def test_any_number_of_clients_takes_bounded_memory() -> None:
    windows = UsedUpWindows()
    tiers = [Caller().tier("auth_address", 1) for _ in range(MAX_REMEMBERED + 1)]
    for tier in tiers:
        windows.add((LimitState(tier, remaining=0, reset_s=900),))
    assert windows.find(tiers[-1:])
    assert not windows.find(tiers[:1])
