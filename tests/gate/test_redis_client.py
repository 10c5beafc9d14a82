"""The Redis client: concurrent calls share one EVALSHA, and a breaker bounds every wait."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import pytest
from redis import Redis

from finpay.gate.gate import Completion, Gate
from finpay.gate.redis_client import (
    MAX_EVALS_IN_FLIGHT,
    MAX_KEYS_PER_EVAL,
    USUAL_KEYS_PER_EVAL,
)
from tests.gate.requests import (
    DATA,
    FINGERPRINT,
    Caller,
    Sessions,
    give_data,
    left,
    open_gate,
    until,
)
from tests.servers import OwnValkey

MAX_WAIT_S: Final = 0.1  # of a request for Redis
SLACK_S: Final = 0.15  # this machine may be busy with other tests


async def timed(work: Awaitable[Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return await work, time.perf_counter() - started


async def one_by_one(times: int, work: Callable[[], Awaitable[Any]]) -> list[Any]:
    return [await work() for _ in range(times)]


def reads_of(redis: Redis) -> int:
    """How often the server read from a socket, this call included."""
    return cast("dict[str, int]", redis.info("stats"))["total_reads_processed"]


def script_calls_of(redis: Redis) -> int:
    commands = cast("dict[str, dict[str, int]]", redis.info("commandstats"))
    return commands.get("cmdstat_evalsha", {"calls": 0})["calls"]


class TestBatching:
    @pytest.fixture
    def redis_url(self, valkey: OwnValkey) -> str:
        """A Valkey of this test: a shared one also counts the probes of other tests' servers."""
        return valkey.url

    async def test_concurrent_calls_share_one_round_trip(self, gate: Gate, redis: Redis) -> None:
        """Requests of many users, counted by the server itself."""
        callers = [Caller() for _ in range(12)]
        for caller in callers:
            await gate.admit(caller.admission())
        before, calls = reads_of(redis), script_calls_of(redis)
        decisions = await asyncio.gather(*(gate.admit(each.admission()) for each in callers))
        assert {decision.kind for decision in decisions} == {"admitted"}
        assert script_calls_of(redis) - calls == 1
        # One for all calls, and three for the INFO commands of this test.
        assert reads_of(redis) - before == 1 + 3

    async def test_a_key_of_the_wrong_type_fails_only_its_own_request(
        self, gate: Gate, redis: Redis
    ) -> None:
        """The other requests of the same EVALSHA get their replies."""
        spoiled, *others = [Caller() for _ in range(5)]
        for caller in (spoiled, *others):
            await gate.admit(caller.admission())
        redis.delete(spoiled.cache)
        redis.lpush(spoiled.cache, "no hash")
        decisions = await asyncio.gather(*(gate.admit(each.write()) for each in (spoiled, *others)))
        assert [decision.degraded for decision in decisions] == [True, *[False] * 4]

    async def test_requests_of_one_user_in_one_call_see_each_others_writes(
        self, gate: Gate, caller: Caller
    ) -> None:
        """The script reads all keys first; a later request must not see those old values."""
        await gate.admit(caller.admission())
        tiers = [caller.tier("own", 3)]
        asking = [caller.admission(tiers=tiers) for _ in range(4)]
        decisions = await asyncio.gather(*map(gate.admit, asking))
        assert [decision.kind for decision in decisions] == ["admitted"] * 3 + ["limited"]
        decisions = await asyncio.gather(*(gate.admit(caller.write(key="one")) for _ in range(2)))
        assert [decision.kind for decision in decisions] == ["admitted", "in_progress"]
        first = caller.write(key="another")
        await gate.admit(first)
        await asyncio.gather(
            gate.complete(first, Completion()),
            gate.complete(first, Completion((FINGERPRINT, 201, b"{}"))),
        )
        decision = await gate.admit(caller.write(key="another"))
        assert (decision.kind, decision.payload) == ("replayed", b"201{}")

    async def test_a_key_is_free_for_the_next_one_once_it_is_released(
        self, gate: Gate, caller: Caller
    ) -> None:
        """The second request was admitted under the same key while Redis was unavailable."""
        owner, other = caller.write(), caller.write()
        await gate.admit(owner)
        await asyncio.gather(
            gate.complete(owner, Completion()),
            gate.complete(other, Completion((FINGERPRINT, 201, b"{}"))),
        )
        await gate.admit(caller.admission())
        assert (await gate.admit(caller.write())).kind == "replayed"

    async def test_calls_with_many_keys_are_sent_as_separate_commands(
        self, gate: Gate, redis: Redis
    ) -> None:
        """A thousand receivers take Redis four milliseconds; other calls must run in between."""
        admissions = [Caller().write() for _ in range(6)]
        users = [f"usr_{number}" for number in range(MAX_KEYS_PER_EVAL)]
        calls = script_calls_of(redis)
        completion = Completion(receivers=users)
        await asyncio.gather(*(gate.complete(each, completion) for each in admissions))
        assert script_calls_of(redis) - calls == 6
        completion = Completion(receivers=users[: MAX_KEYS_PER_EVAL // 3 - 2])
        await asyncio.gather(*(gate.complete(each, completion) for each in admissions))
        assert script_calls_of(redis) - calls == 6 + 2

    async def test_calls_beyond_one_command_are_sent_as_further_commands(
        self, gate: Gate, redis: Redis
    ) -> None:
        keys_per_call = 3
        callers = [Caller() for _ in range(2 * USUAL_KEYS_PER_EVAL // keys_per_call + 1)]
        for caller in callers:
            await gate.admit(caller.admission())
        calls = script_calls_of(redis)
        await asyncio.gather(*(gate.admit(each.admission()) for each in callers))
        assert script_calls_of(redis) - calls == 3

    async def test_calls_made_while_all_commands_are_in_flight_share_the_next(
        self, gate: Gate, redis: Redis
    ) -> None:
        callers = [Caller() for _ in range(MAX_EVALS_IN_FLIGHT + 8)]
        for caller in callers:
            await gate.admit(caller.admission())
        calls = script_calls_of(redis)
        first = []
        for caller in callers[:MAX_EVALS_IN_FLIGHT]:
            first.append(asyncio.create_task(gate.admit(caller.admission())))
            for _ in range(3):  # ticks until its command is sent
                await asyncio.sleep(0)
        rest = callers[MAX_EVALS_IN_FLIGHT:]
        await asyncio.gather(*first, *(gate.admit(each.admission()) for each in rest))
        assert script_calls_of(redis) - calls == MAX_EVALS_IN_FLIGHT + 1

    async def test_a_completion_for_sender_and_receiver_is_one_round_trip(
        self, gate: Gate, caller: Caller, redis: Redis
    ) -> None:
        admission = caller.write()
        await gate.admit(admission)
        other = Caller().user
        completion = Completion((FINGERPRINT, 201, b"{}"), receivers=[other])
        before = reads_of(redis)
        await gate.complete(admission, completion)
        assert reads_of(redis) - before == 1 + 1

    async def test_each_caller_gets_the_reply_to_its_own_call(self, gate: Gate) -> None:
        callers = [Caller() for _ in range(40)]
        tiers = [[caller.tier("own", 1_000 + at)] for at, caller in enumerate(callers)]
        for spent in (1, 2, 3):
            decisions = await asyncio.gather(
                *(
                    gate.admit(caller.admission(tiers=own))
                    for caller, own in zip(callers, tiers, strict=True)
                )
            )
            assert [left(decision)["own"] for decision in decisions] == [
                1_000 + at - spent for at in range(40)
            ]


class TestScripts:
    async def test_are_reloaded_after_redis_flushed_them(
        self, valkey: OwnValkey, inside: Redis, caller: Caller
    ) -> None:
        """The call of an unknown script had no effect, so its retry does not count twice."""
        tiers = [caller.tier("global", 10)]
        async with open_gate(valkey.url) as gate:
            for remaining in (9, 8, 7):
                inside.script_flush()
                decision = await gate.admit(caller.admission(tiers=tiers))
                assert (decision.kind, decision.degraded) == ("admitted", False)
                assert left(decision) == {"global": remaining}

    async def test_of_different_operations_run_once_each_after_a_flush(
        self, valkey: OwnValkey, inside: Redis
    ) -> None:
        callers = [Caller() for _ in range(5)]
        async with open_gate(valkey.url) as gate:
            for each in callers:
                await gate.admit(each.admission())
            inside.script_flush()
            await asyncio.gather(
                *(gate.admit(each.admission(tiers=[each.tier("g", 9)])) for each in callers),
                *(gate.admit_anonymous([each.tier("s", 9)]) for each in callers),
            )
            for each in callers:
                decision = await gate.admit(each.admission(tiers=[each.tier("g", 9)]))
                assert left(decision) == {"g": 7}
                assert left(await gate.admit_anonymous([each.tier("s", 9)])) == {"s": 7}


class TestBreaker:
    async def test_opens_when_redis_hangs_and_closes_by_itself(
        self, valkey: OwnValkey, caller: Caller
    ) -> None:
        sessions = Sessions()
        async with open_gate(valkey.url, sessions) as gate:
            await gate.admit(caller.admission())
            valkey.hang()
            decision, waited_s = await timed(gate.admit(caller.admission()))
            assert (decision.kind, decision.degraded) == ("admitted", True)
            assert waited_s < MAX_WAIT_S + SLACK_S
            assert gate.redis_down
            decisions, waited_s = await timed(one_by_one(5, lambda: gate.admit(caller.admission())))
            assert all(decision.degraded for decision in decisions)
            assert waited_s < MAX_WAIT_S * 2  # all five together: none of them waits for Redis
            assert sessions.queries == 7
            valkey.resume()
            await until(lambda: not gate.redis_down)
            assert not (await gate.admit(caller.admission())).degraded
            assert sessions.queries == 7

    async def test_ends_the_wait_of_all_calls_at_once_when_it_opens(
        self, valkey: OwnValkey
    ) -> None:
        """Including calls that began later, while the first were still waiting."""
        async with open_gate(valkey.url) as gate:
            valkey.hang()
            early = [asyncio.create_task(timed(gate.admit(Caller().admission()))) for _ in "123"]
            await asyncio.sleep(0.05)
            late = [asyncio.create_task(timed(gate.admit(Caller().admission()))) for _ in "123"]
            results = await asyncio.gather(*early, *late)
            assert all(decision.degraded for decision, _ in results)
            assert max(waited_s for _, waited_s in results) < MAX_WAIT_S + SLACK_S

    async def test_opens_when_redis_stops_and_closes_when_it_starts(
        self, valkey: OwnValkey, caller: Caller
    ) -> None:
        async with open_gate(valkey.url) as gate:
            await gate.admit(caller.admission())
            valkey.stop()
            assert (await gate.admit(caller.admission())).degraded
            assert gate.redis_down
            valkey.start()
            await until(lambda: not gate.redis_down)
            assert not (await gate.admit(caller.admission())).degraded

    async def test_opens_when_redis_is_full(
        self, valkey: OwnValkey, inside: Redis, caller: Caller
    ) -> None:
        """A full Redis answers but refuses writes: it is unavailable until it has free memory."""
        tiers = [caller.tier("global", 100)]
        async with open_gate(valkey.url) as gate:
            await gate.admit(caller.admission())
            inside.config_set("maxmemory", "1kb")
            assert (await gate.admit(caller.admission(tiers=tiers))).degraded
            assert gate.redis_down
            inside.config_set("maxmemory", "0")
            await until(lambda: not gate.redis_down)
            decision = await gate.admit(caller.admission(tiers=tiers))
            assert (left(decision), decision.degraded) == ({"global": 99}, False)

    async def test_is_open_from_the_start_if_redis_is_unreachable(
        self, valkey: OwnValkey, caller: Caller
    ) -> None:
        valkey.stop()
        async with open_gate(valkey.url) as gate:
            assert gate.redis_down
            assert (await gate.admit(caller.admission())).degraded
            valkey.start()
            await until(lambda: not gate.redis_down)
            await give_data(gate, DATA)
            assert not (await gate.admit(caller.admission())).degraded
