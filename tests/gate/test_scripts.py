"""The gate's scripts on a real Valkey: sessions, limits, claims."""

import asyncio
import time

import msgspec
import pytest
from redis import Redis

from finpay.gate import redis_keys
from finpay.gate.gate import Completion, Gate
from finpay.gate.rate_limits import Tier
from finpay.settings import RateLimit
from tests.gate.requests import FINGERPRINT, OTHER_FINGERPRINT, Caller, Sessions, left, open_gate

ANSWER = b'{"id":"txn_1","note":"\x00 \xff and \\u0000"}'


class TestSession:
    @pytest.mark.contract("1.6.4")
    async def test_is_read_from_postgresql_once_and_then_from_redis(
        self, gate: Gate, sessions: Sessions, caller: Caller, redis: Redis
    ) -> None:
        for _ in range(3):
            assert (await gate.admit(caller.admission())).kind == "admitted"
        assert sessions.queries == 1
        assert 0 < redis.pttl(caller.marker) <= redis_keys.SESSION_MARKER_TTL_MS

    @pytest.mark.contract("1.6.2", "1.6.4")
    async def test_is_confirmed_once_for_each_generation(
        self, gate: Gate, sessions: Sessions, caller: Caller
    ) -> None:
        """The first use of a generation has to be recorded; that of an earlier one is known."""
        for generation in (0, 1, 1, 0, 3, 1, 3, 2):
            decision = await gate.admit(caller.admission(generation=generation))
            assert decision.kind == "admitted"
        assert sessions.generations == [0, 1, 3]

    @pytest.mark.contract("1.6.3")
    async def test_tombstone_ends_all_generations(
        self, gate: Gate, sessions: Sessions, caller: Caller
    ) -> None:
        for generation in (0, 1, 2):
            await gate.admit(caller.admission(generation=generation))
        await gate.end_sessions(caller.user, [caller.session])
        for generation in (0, 1, 2, 3, 1_000_000):
            decision = await gate.admit(caller.admission(generation=generation))
            assert decision.kind == "revoked"
        assert sessions.queries == 3

    async def test_that_is_unknown_to_postgresql_is_refused_and_not_counted(
        self, gate: Gate, sessions: Sessions, caller: Caller
    ) -> None:
        tiers = [caller.tier("global", 5)]
        sessions.ended.add(caller.session_id)
        decision = await gate.admit(caller.admission(tiers=tiers))
        assert (decision.kind, decision.limits) == ("revoked", ())
        sessions.ended.clear()
        assert left(await gate.admit(caller.admission(tiers=tiers))) == {"global": 4}

    async def test_with_a_tombstone_is_refused_without_a_query_and_not_counted(
        self, gate: Gate, sessions: Sessions, caller: Caller
    ) -> None:
        tiers = [caller.tier("global", 5)]
        await gate.admit(caller.admission(tiers=tiers))
        await gate.end_sessions(caller.user, [caller.session])
        decision = await gate.admit(caller.admission(tiers=tiers))
        assert (decision.kind, decision.limits) == ("revoked", ())
        assert sessions.queries == 1
        other = Caller(user_id=caller.user_id)
        assert left(await gate.admit(other.admission(tiers=tiers))) == {"global": 3}

    @pytest.mark.contract("1.6.3")
    async def test_that_ends_while_postgresql_is_queried_is_refused(
        self, gate: Gate, sessions: Sessions, caller: Caller, redis: Redis
    ) -> None:
        """The tombstone is never overwritten, not even by a query result from before it."""
        sessions.before_result = lambda: gate.end_sessions(caller.user, [caller.session])
        for _ in range(2):
            assert (await gate.admit(caller.admission())).kind == "revoked"
        assert sessions.queries == 1
        assert redis.get(caller.marker) == b"revoked"

    @pytest.mark.contract("1.6.3")
    async def test_tombstone_expires_with_the_access_tokens(
        self, redis_url: str, caller: Caller, redis: Redis
    ) -> None:
        async with open_gate(redis_url, FINPAY_ACCESS_TOKEN_TTL="1234") as gate:
            await gate.end_sessions(caller.user, [caller.session])
        assert 1_229_000 < redis.pttl(caller.marker) <= 1_234_000


class TestLimits:
    async def test_count_all_tiers_or_none(self, gate: Gate, caller: Caller) -> None:
        wide, narrow = caller.tier("wide", 5), caller.tier("narrow", 2)
        both = [wide, narrow]
        for remaining in (1, 0):
            decision = await gate.admit(caller.admission(tiers=both))
            assert left(decision) == {"wide": 3 + remaining, "narrow": remaining}
        for tiers in (both, both[::-1], both):
            decision = await gate.admit(caller.admission(tiers=tiers))
            assert (decision.kind, left(decision)) == ("limited", {"wide": 3, "narrow": 0})
        assert left(await gate.admit(caller.admission(tiers=[wide]))) == {"wide": 2}

    async def test_are_exact_for_concurrent_requests_of_two_gates(
        self, redis_url: str, caller: Caller
    ) -> None:
        tiers = [caller.tier("global", 25)]
        async with open_gate(redis_url) as one, open_gate(redis_url) as other:
            decisions = await asyncio.gather(
                *(gate.admit(caller.admission(tiers=tiers)) for gate in (one, other) * 30)
            )
        admitted = [decision for decision in decisions if decision.kind == "admitted"]
        assert sorted(left(decision)["global"] for decision in admitted) == list(range(25))
        assert all(not decision.degraded for decision in decisions)

    async def test_of_concurrent_anonymous_requests_are_exact(
        self, gate: Gate, caller: Caller
    ) -> None:
        tiers = [caller.tier("global", 9), caller.tier("auth_address", 4)]
        decisions = await asyncio.gather(*(gate.admit_anonymous(tiers) for _ in range(12)))
        kinds = [decision.kind for decision in decisions]
        assert (kinds.count("admitted"), kinds.count("limited")) == (4, 8)
        assert left(await gate.admit_anonymous(tiers[:1])) == {"global": 4}

    @pytest.mark.contract("1.7.2")
    async def test_windows_are_fixed_and_begin_with_the_first_request(
        self, gate: Gate, caller: Caller, redis: Redis
    ) -> None:
        """Neither counted nor refused requests extend a window."""
        tiers = [caller.tier("short", 2, window_s=1)]
        began = time.monotonic()
        kinds = [(await gate.admit(caller.admission(tiers=tiers))).kind]
        await asyncio.sleep(0.5)
        while kinds.count("admitted") < 3 and time.monotonic() < began + 5:
            kinds.append((await gate.admit(caller.admission(tiers=tiers))).kind)
        assert 0.99 < time.monotonic() - began < 1.4
        assert (kinds[:2], {*kinds[2:-1]}) == (["admitted"] * 2, {"limited"})
        assert 0 < redis.pttl(tiers[0].key) <= 1_000

    async def test_of_an_email_are_reset_by_a_login(self, gate: Gate, caller: Caller) -> None:
        tiers = [caller.tier("auth_address", 3), caller.email_tier(3)]
        await gate.admit_anonymous(tiers)
        await gate.forget_failed_logins(tiers)
        assert left(await gate.admit_anonymous(tiers)) == {"auth_address": 1, "auth_email": 2}

    @pytest.mark.contract("1.7.1")
    async def test_of_an_email_exempt_addresses_that_logged_in_before(
        self, gate: Gate, caller: Caller
    ) -> None:
        owner = [caller.tier("auth_address", 9), caller.email_tier(2)]
        unknown_address = [
            caller.tier("auth_other", 9),
            msgspec.structs.replace(owner[1], exempt_key="none"),
        ]
        await gate.admit_anonymous(owner)
        await gate.forget_failed_logins(owner)
        kinds = [(await gate.admit_anonymous(unknown_address)).kind for _ in range(3)]
        assert kinds == ["admitted", "admitted", "limited"]
        assert (await gate.admit_anonymous(owner)).kind == "admitted"

    async def test_of_an_address_do_not_exempt_known_addresses(
        self, gate: Gate, caller: Caller
    ) -> None:
        owner = [caller.tier("auth_address", 2), caller.email_tier(9)]
        await gate.admit_anonymous(owner)
        await gate.forget_failed_logins(owner)
        kinds = [(await gate.admit_anonymous(owner)).kind for _ in range(2)]
        assert kinds == ["admitted", "limited"]

    async def test_are_not_counted_by_peek(self, gate: Gate, caller: Caller, redis: Redis) -> None:
        tiers = [caller.tier("auth_address", 1)]
        for _ in range(3):
            seen = await gate.peek(tiers)
            assert (seen.kind, left(seen)) == ("admitted", {"auth_address": 1})
        assert not redis.exists(tiers[0].key)
        await gate.admit_anonymous(tiers)
        assert (await gate.peek(tiers)).kind == "limited"

    async def test_that_became_lower_than_the_count_have_0_left(
        self, gate: Gate, caller: Caller
    ) -> None:
        """A new release may lower a limit in the middle of a window."""
        for _ in range(4):
            await gate.admit_anonymous([caller.tier("global", 5)])
        decision = await gate.admit_anonymous([caller.tier("global", 2)])
        assert (decision.kind, left(decision)) == ("limited", {"global": 0})

    async def test_that_are_off_are_not_reported(self, gate: Gate) -> None:
        assert (await gate.admit_anonymous([])).limits == ()


class TestKey:
    async def test_is_claimed_once(self, gate: Gate, caller: Caller, redis: Redis) -> None:
        first = await gate.admit(caller.write())
        assert first.kind == "admitted"
        for fingerprint in (FINGERPRINT, OTHER_FINGERPRINT):
            second = await gate.admit(caller.write(fingerprint=fingerprint))
            assert second.kind == "in_progress"
        key = redis_keys.idempotency_key(caller.user, "k")
        assert 0 < redis.pttl(key) <= redis_keys.CLAIM_TTL_MS

    async def test_is_claimed_by_one_of_many_concurrent_requests(
        self, redis_url: str, caller: Caller
    ) -> None:
        async with open_gate(redis_url) as one, open_gate(redis_url) as other:
            decisions = await asyncio.gather(
                *(gate.admit(caller.write()) for gate in (one, other) * 20)
            )
        kinds = [decision.kind for decision in decisions]
        assert (kinds.count("admitted"), kinds.count("in_progress")) == (1, 39)

    async def test_replays_its_answer_byte_for_byte(
        self, redis_url: str, caller: Caller, redis: Redis
    ) -> None:
        async with open_gate(redis_url, FINPAY_IDEMPOTENCY_TTL="777") as gate:
            mine = caller.write()
            await gate.admit(mine)
            await gate.complete(mine, Completion(answer=(FINGERPRINT, 201, ANSWER)))
            retry = await gate.admit(caller.write())
            assert (retry.kind, retry.payload) == ("replayed", b"201" + ANSWER)
            other = await gate.admit(caller.write(fingerprint=OTHER_FINGERPRINT))
            assert (other.kind, other.payload) == ("key_reused", b"")
        key = redis_keys.idempotency_key(caller.user, "k")
        assert 770_000 < redis.pttl(key) <= 777_000

    async def test_stores_the_fingerprint_that_the_ledger_returned(
        self, gate: Gate, caller: Caller
    ) -> None:
        """After a key reuse the stored answer belongs to the first request, not to this one."""
        mine = caller.write(fingerprint=OTHER_FINGERPRINT)
        await gate.admit(mine)
        await gate.complete(mine, Completion(answer=(FINGERPRINT, 201, ANSWER)))
        assert (await gate.admit(caller.write())).kind == "replayed"
        assert (await gate.admit(caller.write(fingerprint=OTHER_FINGERPRINT))).kind == "key_reused"

    async def test_can_be_claimed_after_its_claim_was_released(
        self, gate: Gate, caller: Caller
    ) -> None:
        mine = caller.write()
        await gate.admit(mine)
        await gate.complete(mine, Completion())
        assert (await gate.admit(caller.write())).kind == "admitted"

    @pytest.mark.contract("1.8.10")
    @pytest.mark.parametrize(
        "completion", [Completion(), Completion(answer=(OTHER_FINGERPRINT, 402, b"{}"))]
    )
    async def test_is_released_and_answered_only_by_the_request_that_claimed_it(
        self, gate: Gate, caller: Caller, completion: Completion
    ) -> None:
        """While the key is claimed and after it has its answer."""
        mine = caller.write()
        await gate.admit(mine)
        await gate.complete(caller.write(), completion)
        assert (await gate.admit(caller.write())).kind == "in_progress"
        await gate.complete(mine, Completion(answer=(FINGERPRINT, 201, ANSWER)))
        await gate.complete(caller.write(), completion)
        assert (await gate.admit(caller.write())).payload == b"201" + ANSWER

    async def test_that_redis_lost_is_stored_by_its_request_unless_another_claimed_it(
        self, gate: Gate, caller: Caller, redis: Redis
    ) -> None:
        key = redis_keys.idempotency_key(caller.user, "k")
        first, second = caller.write(), caller.write()
        await gate.admit(first)
        redis.delete(key)
        await gate.complete(first, Completion(answer=(FINGERPRINT, 201, ANSWER)))
        assert (await gate.admit(caller.write())).kind == "replayed"
        redis.delete(key)
        await gate.admit(second)
        await gate.complete(first, Completion(answer=(OTHER_FINGERPRINT, 402, b"{}")))
        assert (await gate.admit(caller.write())).kind == "in_progress"
        await gate.complete(second, Completion(answer=(FINGERPRINT, 201, ANSWER)))
        assert (await gate.admit(caller.write())).payload == b"201" + ANSWER

    async def test_belongs_to_one_user(self, gate: Gate, caller: Caller) -> None:
        await gate.admit(caller.write())
        assert (await gate.admit(Caller().write())).kind == "admitted"

    async def test_is_not_claimed_by_a_rate_limited_request(
        self, gate: Gate, caller: Caller, redis: Redis
    ) -> None:
        tiers = [Tier("none", redis_keys.user_limit(caller.user, "none"), RateLimit(1, 60))]
        admissions = [
            caller.admission("idempotent_write", tiers, key="k", fingerprint=FINGERPRINT)
            for _ in "ab"
        ]
        await gate.admit(caller.admission(tiers=tiers))
        assert [(await gate.admit(each)).kind for each in admissions] == ["limited"] * 2
        assert not redis.exists(redis_keys.idempotency_key(caller.user, "k"), caller.cache)
