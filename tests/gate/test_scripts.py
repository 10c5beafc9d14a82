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
from tests.gate.requests import FINGERPRINT, OTHER_FINGERPRINT, Sessions, Visitor, left, open_gate

ANSWER = b'{"id":"txn_1","note":"\x00 \xff and \\u0000"}'


class TestSession:
    @pytest.mark.contract("1.6.4")
    async def test_is_asked_for_once_and_then_remembered(
        self, gate: Gate, sessions: Sessions, visitor: Visitor, redis: Redis
    ) -> None:
        for _ in range(3):
            assert (await gate.admit(visitor.admission())).kind == "admitted"
        assert sessions.asked == 1
        assert 0 < redis.pttl(visitor.marker) <= redis_keys.SESSION_MARKER_TTL_MS

    @pytest.mark.contract("1.6.2", "1.6.4")
    async def test_is_confirmed_once_for_each_generation(
        self, gate: Gate, sessions: Sessions, visitor: Visitor
    ) -> None:
        """The first use of a generation has to be recorded; that of an earlier one is known."""
        for generation in (0, 1, 1, 0, 3, 1, 3, 2):
            decision = await gate.admit(visitor.admission(generation=generation))
            assert decision.kind == "admitted"
        assert sessions.generations == [0, 1, 3]

    @pytest.mark.contract("1.6.3")
    async def test_tombstone_ends_all_generations(
        self, gate: Gate, sessions: Sessions, visitor: Visitor
    ) -> None:
        for generation in (0, 1, 2):
            await gate.admit(visitor.admission(generation=generation))
        await gate.end_sessions(visitor.user, [visitor.session])
        for generation in (0, 1, 2, 3, 1_000_000):
            decision = await gate.admit(visitor.admission(generation=generation))
            assert decision.kind == "revoked"
        assert sessions.asked == 3

    async def test_that_postgresql_does_not_know_is_refused_and_counts_nothing(
        self, gate: Gate, sessions: Sessions, visitor: Visitor
    ) -> None:
        tiers = [visitor.tier("global", 5)]
        sessions.ended.add(visitor.session_id)
        decision = await gate.admit(visitor.admission(tiers=tiers))
        assert (decision.kind, decision.limits) == ("revoked", ())
        sessions.ended.clear()
        assert left(await gate.admit(visitor.admission(tiers=tiers))) == {"global": 4}

    async def test_that_ended_is_refused_without_a_question_and_counts_nothing(
        self, gate: Gate, sessions: Sessions, visitor: Visitor
    ) -> None:
        tiers = [visitor.tier("global", 5)]
        await gate.admit(visitor.admission(tiers=tiers))
        await gate.end_sessions(visitor.user, [visitor.session])
        decision = await gate.admit(visitor.admission(tiers=tiers))
        assert (decision.kind, decision.limits) == ("revoked", ())
        assert sessions.asked == 1
        other = Visitor(user_id=visitor.user_id)
        assert left(await gate.admit(other.admission(tiers=tiers))) == {"global": 3}

    @pytest.mark.contract("1.6.3")
    async def test_that_ends_while_postgresql_is_asked_is_refused(
        self, gate: Gate, sessions: Sessions, visitor: Visitor, redis: Redis
    ) -> None:
        """The tombstone is never overwritten, not even by an answer from before it."""
        sessions.meanwhile = lambda: gate.end_sessions(visitor.user, [visitor.session])
        for _ in range(2):
            assert (await gate.admit(visitor.admission())).kind == "revoked"
        assert sessions.asked == 1
        assert redis.get(visitor.marker) == b"revoked"

    @pytest.mark.contract("1.6.3")
    async def test_tombstone_lives_as_long_as_an_access_token(
        self, redis_url: str, visitor: Visitor, redis: Redis
    ) -> None:
        async with open_gate(redis_url, FINPAY_ACCESS_TOKEN_TTL="1234") as gate:
            await gate.end_sessions(visitor.user, [visitor.session])
        assert 1_229_000 < redis.pttl(visitor.marker) <= 1_234_000


class TestLimits:
    async def test_count_all_tiers_or_none(self, gate: Gate, visitor: Visitor) -> None:
        wide, narrow = visitor.tier("wide", 5), visitor.tier("narrow", 2)
        both = [wide, narrow]
        for remaining in (1, 0):
            decision = await gate.admit(visitor.admission(tiers=both))
            assert left(decision) == {"wide": 3 + remaining, "narrow": remaining}
        for tiers in (both, both[::-1], both):
            decision = await gate.admit(visitor.admission(tiers=tiers))
            assert (decision.kind, left(decision)) == ("limited", {"wide": 3, "narrow": 0})
        assert left(await gate.admit(visitor.admission(tiers=[wide]))) == {"wide": 2}

    async def test_are_exact_for_gates_that_ask_at_once(
        self, redis_url: str, visitor: Visitor
    ) -> None:
        tiers = [visitor.tier("global", 25)]
        async with open_gate(redis_url) as one, open_gate(redis_url) as other:
            verdicts = await asyncio.gather(
                *(gate.admit(visitor.admission(tiers=tiers)) for gate in (one, other) * 30)
            )
        admitted = [decision for decision in verdicts if decision.kind == "admitted"]
        assert sorted(left(decision)["global"] for decision in admitted) == list(range(25))
        assert all(not decision.degraded for decision in verdicts)

    async def test_of_strangers_are_exact_too(self, gate: Gate, visitor: Visitor) -> None:
        tiers = [visitor.tier("global", 9), visitor.tier("auth_address", 4)]
        verdicts = await asyncio.gather(*(gate.admit_anonymous(tiers) for _ in range(12)))
        kinds = [decision.kind for decision in verdicts]
        assert (kinds.count("admitted"), kinds.count("limited")) == (4, 8)
        assert left(await gate.admit_anonymous(tiers[:1])) == {"global": 4}

    @pytest.mark.contract("1.7.2")
    async def test_windows_are_fixed_and_begin_with_the_first_request(
        self, gate: Gate, visitor: Visitor, redis: Redis
    ) -> None:
        """Neither counted requests nor refused ones make them longer."""
        tiers = [visitor.tier("short", 2, window_s=1)]
        began = time.monotonic()
        kinds = [(await gate.admit(visitor.admission(tiers=tiers))).kind]
        await asyncio.sleep(0.5)
        while kinds.count("admitted") < 3 and time.monotonic() < began + 5:
            kinds.append((await gate.admit(visitor.admission(tiers=tiers))).kind)
        assert 0.99 < time.monotonic() - began < 1.4
        assert (kinds[:2], {*kinds[2:-1]}) == (["admitted"] * 2, {"limited"})
        assert 0 < redis.pttl(tiers[0].key) <= 1_000

    async def test_of_an_email_start_anew_after_a_login(self, gate: Gate, visitor: Visitor) -> None:
        tiers = [visitor.tier("auth_address", 3), visitor.email_tier(3)]
        await gate.admit_anonymous(tiers)
        await gate.forget_failed_logins(tiers)
        assert left(await gate.admit_anonymous(tiers)) == {"auth_address": 1, "auth_email": 2}

    @pytest.mark.contract("1.7.1")
    async def test_of_an_email_do_not_stop_addresses_that_logged_in_before(
        self, gate: Gate, visitor: Visitor
    ) -> None:
        owner = [visitor.tier("auth_address", 9), visitor.email_tier(2)]
        stranger = [
            visitor.tier("auth_other", 9),
            msgspec.structs.replace(owner[1], exempt_key="none"),
        ]
        await gate.admit_anonymous(owner)
        await gate.forget_failed_logins(owner)
        kinds = [(await gate.admit_anonymous(stranger)).kind for _ in range(3)]
        assert kinds == ["admitted", "admitted", "limited"]
        assert (await gate.admit_anonymous(owner)).kind == "admitted"

    async def test_of_the_address_stop_known_addresses_too(
        self, gate: Gate, visitor: Visitor
    ) -> None:
        owner = [visitor.tier("auth_address", 2), visitor.email_tier(9)]
        await gate.admit_anonymous(owner)
        await gate.forget_failed_logins(owner)
        kinds = [(await gate.admit_anonymous(owner)).kind for _ in range(2)]
        assert kinds == ["admitted", "limited"]

    async def test_can_be_looked_at_without_being_counted(
        self, gate: Gate, visitor: Visitor, redis: Redis
    ) -> None:
        tiers = [visitor.tier("auth_address", 1)]
        for _ in range(3):
            seen = await gate.peek(tiers)
            assert (seen.kind, left(seen)) == ("admitted", {"auth_address": 1})
        assert not redis.exists(tiers[0].key)
        await gate.admit_anonymous(tiers)
        assert (await gate.peek(tiers)).kind == "limited"

    async def test_that_became_smaller_leave_nothing_rather_than_less(
        self, gate: Gate, visitor: Visitor
    ) -> None:
        """A new release may bring a smaller limit into a running window."""
        for _ in range(4):
            await gate.admit_anonymous([visitor.tier("global", 5)])
        decision = await gate.admit_anonymous([visitor.tier("global", 2)])
        assert (decision.kind, left(decision)) == ("limited", {"global": 0})

    async def test_that_are_off_cost_nothing(self, gate: Gate) -> None:
        assert (await gate.admit_anonymous([])).limits == ()


class TestKey:
    async def test_is_claimed_once(self, gate: Gate, visitor: Visitor, redis: Redis) -> None:
        first = await gate.admit(visitor.write())
        assert first.kind == "admitted"
        for fingerprint in (FINGERPRINT, OTHER_FINGERPRINT):
            again = await gate.admit(visitor.write(fingerprint=fingerprint))
            assert again.kind == "in_progress"
        key = redis_keys.idempotency_key(visitor.user, "k")
        assert 0 < redis.pttl(key) <= redis_keys.CLAIM_TTL_MS

    async def test_is_claimed_once_of_many_at_once(self, redis_url: str, visitor: Visitor) -> None:
        async with open_gate(redis_url) as one, open_gate(redis_url) as other:
            verdicts = await asyncio.gather(
                *(gate.admit(visitor.write()) for gate in (one, other) * 20)
            )
        kinds = [decision.kind for decision in verdicts]
        assert (kinds.count("admitted"), kinds.count("in_progress")) == (1, 39)

    async def test_gives_its_answer_back_byte_for_byte(
        self, redis_url: str, visitor: Visitor, redis: Redis
    ) -> None:
        async with open_gate(redis_url, FINPAY_IDEMPOTENCY_TTL="777") as gate:
            mine = visitor.write()
            await gate.admit(mine)
            await gate.complete(mine, Completion(answer=(FINGERPRINT, 201, ANSWER)))
            again = await gate.admit(visitor.write())
            assert (again.kind, again.payload) == ("replayed", b"201" + ANSWER)
            other = await gate.admit(visitor.write(fingerprint=OTHER_FINGERPRINT))
            assert (other.kind, other.payload) == ("key_reused", b"")
        key = redis_keys.idempotency_key(visitor.user, "k")
        assert 770_000 < redis.pttl(key) <= 777_000

    async def test_stores_the_fingerprint_that_the_ledger_knows(
        self, gate: Gate, visitor: Visitor
    ) -> None:
        """The ledger said reuse: what is stored belongs to the first request, not to this one."""
        mine = visitor.write(fingerprint=OTHER_FINGERPRINT)
        await gate.admit(mine)
        await gate.complete(mine, Completion(answer=(FINGERPRINT, 201, ANSWER)))
        assert (await gate.admit(visitor.write())).kind == "replayed"
        assert (await gate.admit(visitor.write(fingerprint=OTHER_FINGERPRINT))).kind == "key_reused"

    async def test_is_free_again_when_its_owner_lets_go(self, gate: Gate, visitor: Visitor) -> None:
        mine = visitor.write()
        await gate.admit(mine)
        await gate.complete(mine, Completion())
        assert (await gate.admit(visitor.write())).kind == "admitted"

    @pytest.mark.contract("1.8.10")
    @pytest.mark.parametrize(
        "settlement", [Completion(), Completion(answer=(OTHER_FINGERPRINT, 402, b"{}"))]
    )
    async def test_is_nobody_elses_to_release_or_to_answer(
        self, gate: Gate, visitor: Visitor, settlement: Completion
    ) -> None:
        """Neither while it is claimed nor once it is answered."""
        mine = visitor.write()
        await gate.admit(mine)
        await gate.complete(visitor.write(), settlement)
        assert (await gate.admit(visitor.write())).kind == "in_progress"
        await gate.complete(mine, Completion(answer=(FINGERPRINT, 201, ANSWER)))
        await gate.complete(visitor.write(), settlement)
        assert (await gate.admit(visitor.write())).payload == b"201" + ANSWER

    async def test_that_redis_lost_is_stored_by_its_owner_unless_claimed_anew(
        self, gate: Gate, visitor: Visitor, redis: Redis
    ) -> None:
        key = redis_keys.idempotency_key(visitor.user, "k")
        first, second = visitor.write(), visitor.write()
        await gate.admit(first)
        redis.delete(key)
        await gate.complete(first, Completion(answer=(FINGERPRINT, 201, ANSWER)))
        assert (await gate.admit(visitor.write())).kind == "replayed"
        redis.delete(key)
        await gate.admit(second)
        await gate.complete(first, Completion(answer=(OTHER_FINGERPRINT, 402, b"{}")))
        assert (await gate.admit(visitor.write())).kind == "in_progress"
        await gate.complete(second, Completion(answer=(FINGERPRINT, 201, ANSWER)))
        assert (await gate.admit(visitor.write())).payload == b"201" + ANSWER

    async def test_belongs_to_one_user(self, gate: Gate, visitor: Visitor) -> None:
        await gate.admit(visitor.write())
        assert (await gate.admit(Visitor().write())).kind == "admitted"

    async def test_is_not_looked_at_by_a_refused_request(
        self, gate: Gate, visitor: Visitor, redis: Redis
    ) -> None:
        tiers = [Tier("none", redis_keys.user_limit(visitor.user, "none"), RateLimit(1, 60))]
        passages = [
            visitor.admission("idempotent_write", tiers, key="k", fingerprint=FINGERPRINT)
            for _ in "ab"
        ]
        await gate.admit(visitor.admission(tiers=tiers))
        assert [(await gate.admit(each)).kind for each in passages] == ["limited"] * 2
        assert not redis.exists(redis_keys.idempotency_key(visitor.user, "k"), visitor.cache)
