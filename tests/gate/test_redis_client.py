"""The Redis client: concurrent calls share one EVALSHA, and a breaker bounds every wait."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import pytest
import uvloop
from redis import Redis

from finpay.gate.gate import Completion, Gate
from finpay.gate.redis_client import MAX_EVALS_IN_FLIGHT, MAX_KEYS_PER_EVAL
from tests.gate.requests import FINGERPRINT, Sessions, Visitor, left, open_gate, until
from tests.servers import OwnValkey

PATIENCE_S: Final = 0.1  # no request waits longer for Redis …
SLACK_S: Final = 0.15  # … and this machine may be busy with other tests


async def timed(work: Awaitable[Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return await work, time.perf_counter() - started


async def in_turn(times: int, work: Callable[[], Awaitable[Any]]) -> list[Any]:
    return [await work() for _ in range(times)]


def reads_of(redis: Redis) -> int:
    """How often the server read from a socket, this question included."""
    return cast("dict[str, int]", redis.info("stats"))["total_reads_processed"]


def script_calls_of(redis: Redis) -> int:
    commands = cast("dict[str, dict[str, int]]", redis.info("commandstats"))
    return commands.get("cmdstat_evalsha", {"calls": 0})["calls"]


class TestGathering:
    @pytest.fixture
    def redis_url(self, valkey: OwnValkey) -> str:
        """Nobody else's: on the shared one the probes of other tests' servers are counted too."""
        return valkey.url

    async def test_calls_begun_together_share_one_round_trip(
        self, gate: Gate, redis: Redis
    ) -> None:
        """Requests of many users, counted by the server itself."""
        visitors = [Visitor() for _ in range(12)]
        for visitor in visitors:
            await gate.admit(visitor.admission())
        before, calls = reads_of(redis), script_calls_of(redis)
        verdicts = await asyncio.gather(*(gate.admit(each.admission()) for each in visitors))
        assert {decision.kind for decision in verdicts} == {"admitted"}
        assert script_calls_of(redis) - calls == 1
        # One for them all, and the three questions that stand between.
        assert reads_of(redis) - before == 1 + 3

    async def test_a_key_that_somebody_spoiled_harms_nobody_else(
        self, gate: Gate, redis: Redis
    ) -> None:
        """Those of one call are served each for itself."""
        spoiled, *others = [Visitor() for _ in range(5)]
        for visitor in (spoiled, *others):
            await gate.admit(visitor.admission())
        redis.delete(spoiled.cache)
        redis.lpush(spoiled.cache, "no hash")
        verdicts = await asyncio.gather(*(gate.admit(each.write()) for each in (spoiled, *others)))
        assert [decision.degraded for decision in verdicts] == [True, *[False] * 4]

    async def test_two_of_one_user_in_one_call_see_each_other(
        self, gate: Gate, visitor: Visitor
    ) -> None:
        """What the call read once for all is not what the second of them finds."""
        await gate.admit(visitor.admission())
        tiers = [visitor.tier("own", 3)]
        asking = [visitor.admission(tiers=tiers) for _ in range(4)]
        verdicts = await asyncio.gather(*map(gate.admit, asking))
        assert [decision.kind for decision in verdicts] == ["admitted"] * 3 + ["limited"]
        verdicts = await asyncio.gather(*(gate.admit(visitor.write(key="one")) for _ in range(2)))
        assert [decision.kind for decision in verdicts] == ["admitted", "in_progress"]
        first = visitor.write(key="another")
        await gate.admit(first)
        await asyncio.gather(
            gate.complete(first, Completion()),
            gate.complete(first, Completion((FINGERPRINT, 201, b"{}"))),
        )
        decision = await gate.admit(visitor.write(key="another"))
        assert (decision.kind, decision.payload) == ("replayed", b"201{}")

    async def test_a_key_is_free_for_the_next_one_once_it_is_released(
        self, gate: Gate, visitor: Visitor
    ) -> None:
        """The second was let in while Redis was away, under the same key."""
        owner, other = visitor.write(), visitor.write()
        await gate.admit(owner)
        await asyncio.gather(
            gate.complete(owner, Completion()),
            gate.complete(other, Completion((FINGERPRINT, 201, b"{}"))),
        )
        await gate.admit(visitor.admission())
        assert (await gate.admit(visitor.write())).kind == "replayed"

    async def test_calls_with_many_keys_are_commands_of_their_own(
        self, gate: Gate, redis: Redis
    ) -> None:
        """A thousand receivers take Redis four milliseconds: other calls run in between."""
        admissions = [Visitor().write() for _ in range(6)]
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
        visitors = [Visitor() for _ in range(2 * MAX_KEYS_PER_EVAL // keys_per_call + 1)]
        for visitor in visitors:
            await gate.admit(visitor.admission())
        calls = script_calls_of(redis)
        await asyncio.gather(*(gate.admit(each.admission()) for each in visitors))
        assert script_calls_of(redis) - calls == 3

    async def test_calls_made_while_all_commands_are_in_flight_share_the_next(
        self, gate: Gate, redis: Redis
    ) -> None:
        visitors = [Visitor() for _ in range(MAX_EVALS_IN_FLIGHT + 8)]
        for visitor in visitors:
            await gate.admit(visitor.admission())
        calls = script_calls_of(redis)
        first = []
        for visitor in visitors[:MAX_EVALS_IN_FLIGHT]:
            first.append(asyncio.create_task(gate.admit(visitor.admission())))
            for _ in range(3):  # its command is sent
                await asyncio.sleep(0)
        rest = visitors[MAX_EVALS_IN_FLIGHT:]
        await asyncio.gather(*first, *(gate.admit(each.admission()) for each in rest))
        assert script_calls_of(redis) - calls == MAX_EVALS_IN_FLIGHT + 1

    async def test_a_write_settles_both_sides_in_one_round_trip(
        self, gate: Gate, visitor: Visitor, redis: Redis
    ) -> None:
        admission = visitor.write()
        await gate.admit(admission)
        other = Visitor().user
        settlement = Completion((FINGERPRINT, 201, b"{}"), receivers=[other])
        before = reads_of(redis)
        await gate.complete(admission, settlement)
        assert reads_of(redis) - before == 1 + 1

    async def test_one_answer_never_reaches_another(self, gate: Gate) -> None:
        visitors = [Visitor() for _ in range(40)]
        tiers = [[visitor.tier("own", 1_000 + at)] for at, visitor in enumerate(visitors)]
        for spent in (1, 2, 3):
            verdicts = await asyncio.gather(
                *(
                    gate.admit(visitor.admission(tiers=own))
                    for visitor, own in zip(visitors, tiers, strict=True)
                )
            )
            assert [left(decision)["own"] for decision in verdicts] == [
                1_000 + at - spent for at in range(40)
            ]


class TestScripts:
    async def test_are_loaded_again_when_redis_forgot_them(
        self, valkey: OwnValkey, inside: Redis, visitor: Visitor
    ) -> None:
        """A script that was not known did nothing, so nothing counts twice."""
        tiers = [visitor.tier("global", 10)]
        async with open_gate(valkey.url) as gate:
            for remaining in (9, 8, 7):
                inside.script_flush()
                decision = await gate.admit(visitor.admission(tiers=tiers))
                assert (decision.kind, decision.degraded) == ("admitted", False)
                assert left(decision) == {"global": remaining}

    async def test_of_a_mixed_pipeline_are_each_carried_out_once(
        self, valkey: OwnValkey, inside: Redis
    ) -> None:
        visitors = [Visitor() for _ in range(5)]
        async with open_gate(valkey.url) as gate:
            for each in visitors:
                await gate.admit(each.admission())
            inside.script_flush()
            await asyncio.gather(
                *(gate.admit(each.admission(tiers=[each.tier("g", 9)])) for each in visitors),
                *(gate.admit_anonymous([each.tier("s", 9)]) for each in visitors),
            )
            for each in visitors:
                decision = await gate.admit(each.admission(tiers=[each.tier("g", 9)]))
                assert left(decision) == {"g": 7}
                assert left(await gate.admit_anonymous([each.tier("s", 9)])) == {"s": 7}


class TestBreaker:
    async def test_opens_when_redis_hangs_and_closes_by_itself(
        self, valkey: OwnValkey, visitor: Visitor
    ) -> None:
        sessions = Sessions()
        async with open_gate(valkey.url, sessions) as gate:
            await gate.admit(visitor.admission())
            valkey.hang()
            decision, waited_s = await timed(gate.admit(visitor.admission()))
            assert (decision.kind, decision.degraded) == ("admitted", True)
            assert waited_s < PATIENCE_S + SLACK_S
            assert gate.redis_down
            verdicts, waited_s = await timed(in_turn(5, lambda: gate.admit(visitor.admission())))
            assert all(decision.degraded for decision in verdicts)
            assert waited_s < PATIENCE_S * 2  # all five together: none of them waits for Redis
            assert sessions.asked == 7
            valkey.resume()
            await until(lambda: not gate.redis_down)
            assert not (await gate.admit(visitor.admission())).degraded
            assert sessions.asked == 7

    async def test_lets_all_who_wait_go_on_at_once(self, valkey: OwnValkey) -> None:
        """Also those who came later, while the first were still waiting."""
        async with open_gate(valkey.url) as gate:
            valkey.hang()
            early = [asyncio.create_task(timed(gate.admit(Visitor().admission()))) for _ in "123"]
            await asyncio.sleep(0.05)
            late = [asyncio.create_task(timed(gate.admit(Visitor().admission()))) for _ in "123"]
            answers = await asyncio.gather(*early, *late)
            assert all(decision.degraded for decision, _ in answers)
            assert max(waited_s for _, waited_s in answers) < PATIENCE_S + SLACK_S

    async def test_opens_when_redis_stops_and_closes_when_it_starts(
        self, valkey: OwnValkey, visitor: Visitor
    ) -> None:
        async with open_gate(valkey.url) as gate:
            await gate.admit(visitor.admission())
            valkey.stop()
            assert (await gate.admit(visitor.admission())).degraded
            assert gate.redis_down
            valkey.start()
            await until(lambda: not gate.redis_down)
            assert not (await gate.admit(visitor.admission())).degraded

    async def test_opens_when_redis_is_full(
        self, valkey: OwnValkey, inside: Redis, visitor: Visitor
    ) -> None:
        """It answers, and takes nothing: as good as away, until there is room again."""
        tiers = [visitor.tier("global", 100)]
        async with open_gate(valkey.url) as gate:
            await gate.admit(visitor.admission())
            inside.config_set("maxmemory", "1kb")
            assert (await gate.admit(visitor.admission(tiers=tiers))).degraded
            assert gate.redis_down
            inside.config_set("maxmemory", "0")
            await until(lambda: not gate.redis_down)
            decision = await gate.admit(visitor.admission(tiers=tiers))
            assert (left(decision), decision.degraded) == ({"global": 99}, False)

    @pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
    def test_does_not_open_because_this_process_was_busy(
        self, redis_url: str, visitor: Visitor, new_loop: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        """The answer lay in the socket all the time. Loops differ in whether they look there before
        they look at the clock, so the computation begins at every step of the question."""

        async def ask_and_compute() -> None:
            async with open_gate(redis_url) as gate:
                await gate.admit(visitor.admission())
                for work in (lambda: gate.admit(visitor.admission()), gate.ping):
                    for steps in range(8):
                        asking = asyncio.ensure_future(work())
                        for _ in range(steps):
                            await asyncio.sleep(0)
                        time.sleep(PATIENCE_S)  # as a long computation would
                        await asking
                        assert not gate.redis_down, steps

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(ask_and_compute())

    async def test_is_open_from_the_start_where_no_redis_is(
        self, valkey: OwnValkey, visitor: Visitor
    ) -> None:
        valkey.stop()
        async with open_gate(valkey.url) as gate:
            assert gate.redis_down
            assert (await gate.admit(visitor.admission())).degraded
            valkey.start()
            await until(lambda: not gate.redis_down)
            assert not (await gate.admit(visitor.admission())).degraded
