"""The breaker does not take a process that is busy with other work for a slow Redis."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import pytest
import uvloop

from finpay.gate.redis_client import PROBE_TIMEOUT_S, USUAL_KEYS_PER_EVAL
from tests.gate.requests import Caller, open_gate

MAX_WAIT_S: Final = 0.1  # of a request for Redis
LONG_TICK_S: Final = 0.045


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_breaker_does_not_open_because_this_process_was_busy(
    redis_url: str, caller: Caller, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """The reply was in the socket all the time. Event loops differ in whether they read sockets
    before timers, so the computation starts at each step of the call."""

    async def call_and_compute() -> None:
        async with open_gate(redis_url) as gate:
            await gate.admit(caller.admission())
            for work in (lambda: gate.admit(caller.admission()), gate.ping):
                for steps in range(8):
                    call = asyncio.ensure_future(work())
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    time.sleep(MAX_WAIT_S)  # as a long computation would
                    await call
                    assert not gate.redis_down, steps

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(call_and_compute())


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_breaker_does_not_open_because_the_ticks_of_this_process_are_long(
    redis_url: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Under overload: a reply is read in one tick of the event loop and passed on in others."""

    async def compute_in_each_tick() -> None:
        while True:
            time.sleep(LONG_TICK_S)
            await asyncio.sleep(0)

    async def call_meanwhile() -> None:
        callers = [Caller() for _ in range(USUAL_KEYS_PER_EVAL)]
        async with open_gate(redis_url) as gate:
            computing = asyncio.ensure_future(compute_in_each_tick())
            try:
                for _ in range(3):
                    await asyncio.gather(*(gate.admit(each.admission()) for each in callers))
                    assert not gate.redis_down
            finally:
                computing.cancel()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(call_meanwhile())


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_probe_ends_in_time_although_the_ticks_of_this_process_are_long(
    redis_url: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Else the breaker would stay open after an outage for as long as the overload lasts."""
    ticks = 0

    async def compute_in_each_tick() -> None:
        nonlocal ticks
        while True:
            time.sleep(LONG_TICK_S)
            ticks += 1
            await asyncio.sleep(0)

    async def start_meanwhile() -> None:
        computing = asyncio.ensure_future(compute_in_each_tick())
        try:
            async with open_gate(redis_url, data=None) as gate:
                assert ticks * LONG_TICK_S < PROBE_TIMEOUT_S
                assert not gate.redis_down
        finally:
            computing.cancel()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(start_meanwhile())
