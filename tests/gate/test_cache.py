"""The cache of one user: marks, generations and sequences keep it from ever being stale."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis

from finpay.gate import redis_keys
from finpay.gate.gate import Admission, Completion, Decision, Gate
from tests.gate.requests import FINGERPRINT, Visitor, open_gate

ANSWER = (FINGERPRINT, 201, b"{}")


@dataclass
class Reader:
    """One user's reads, step by step as the pipeline takes them."""

    gate: Gate
    visitor: Visitor

    async def look(self, variant: str = "/accounts?") -> tuple[Admission, Decision]:
        """The gate call of a read; what it found and the passage to fill with."""
        admission = self.visitor.read(variant)
        return admission, await self.gate.admit(admission)

    async def store_read(
        self, seen: tuple[Admission, Decision], sequence: int, payload: bytes
    ) -> None:
        """Stores what was read from PostgreSQL, as the pipeline does: only with a generation."""
        admission, decision = seen
        assert decision.kind == "admitted"
        if decision.generation is not None:
            await self.gate.store_read(admission, decision.generation, sequence, payload)

    async def cached(self, variant: str = "/accounts?") -> bytes | None:
        _, decision = await self.look(variant)
        return decision.payload if decision.kind == "cache_hit" else None

    async def write(self) -> None:
        """A whole money POST."""
        admission = await self.begin()
        await self.gate.complete(admission, Completion(ANSWER))

    async def begin(self) -> Admission:
        """A money POST whose key was granted: from here on a write may be under way."""
        admission = self.visitor.write(key=f"k{id(object())}-{len(self.begun)}")
        self.begun.append(admission)
        assert (await self.gate.admit(admission)).kind == "admitted"
        return admission

    def __post_init__(self) -> None:
        self.begun: list[Admission] = []


@pytest.fixture
def reader(gate: Gate, visitor: Visitor) -> Reader:
    return Reader(gate, visitor)


async def test_what_was_read_is_served_until_the_next_write(reader: Reader) -> None:
    assert await reader.cached() is None
    await reader.store_read(await reader.look(), 3, b"payload \x00\xff\n1 2 3")
    for _ in range(2):
        assert await reader.cached() == b"payload \x00\xff\n1 2 3"
    await reader.write()
    assert await reader.cached() is None


async def test_nothing_is_served_or_stored_while_a_write_may_be_under_way(reader: Reader) -> None:
    await reader.store_read(await reader.look(), 3, b"old")
    await reader.begin()
    seen = await reader.look()
    assert (seen[1].kind, seen[1].generation) == ("admitted", None)
    await reader.store_read(seen, 3, b"old")
    assert await reader.cached() is None


async def test_a_read_that_began_before_a_write_is_not_stored_after_it(reader: Reader) -> None:
    """Whether the write is settled by then or not, and even if it changed nothing."""
    for settlement in (Completion(ANSWER), Completion(), None):
        seen = await reader.look()
        write = await reader.begin()
        if settlement is not None:
            await reader.gate.complete(write, settlement)
        await reader.store_read(seen, 5, b"may be old")
        assert await reader.cached() is None


async def test_a_read_that_comes_too_late_leaves_what_is_there(reader: Reader) -> None:
    """Between the two was a write that changed nothing."""
    slow = await reader.look()
    await reader.gate.complete(await reader.begin(), Completion(ANSWER))
    await reader.store_read(await reader.look(), 5, b"new")
    await reader.store_read(slow, 5, b"from before the write")
    assert await reader.cached() == b"new"


async def test_each_write_removes_its_own_mark_only(reader: Reader, redis: Redis) -> None:
    first, second = await reader.begin(), await reader.begin()
    await reader.gate.complete(first, Completion(ANSWER))
    await reader.gate.complete(first, Completion(ANSWER))
    assert (await reader.look())[1].generation is None
    await reader.gate.complete(second, Completion(ANSWER))
    await reader.store_read(await reader.look(), 2, b"new")
    assert await reader.cached() == b"new"
    assert marks(redis, reader.visitor) == 0


async def test_an_unknown_outcome_leaves_the_mark(reader: Reader, redis: Redis) -> None:
    write = await reader.begin()
    await reader.gate.complete(write, Completion(outcome_known=False))
    assert (await reader.look())[1].generation is None
    assert marks(redis, reader.visitor) == 1


async def test_an_unknown_outcome_that_left_no_mark_leaves_one_now(
    reader: Reader, redis: Redis
) -> None:
    seen = await reader.look()
    await reader.gate.complete(reader.visitor.write(), Completion(outcome_known=False))
    assert (await reader.look())[1].generation is None
    await reader.store_read(seen, 3, b"from before it")
    assert variants(redis, reader.visitor) == 0
    assert (
        redis_keys.WRITE_MARKER_TTL_MS
        < redis.pttl(reader.visitor.cache)
        <= redis_keys.CACHE_HASH_TTL_MS
    )


async def test_a_mark_ends_by_itself(
    redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 seconds: longer than any statement can still commit. Here a tenth of a second."""
    assert redis_keys.WRITE_MARKER_TTL_MS == 30_000
    monkeypatch.setattr(redis_keys, "WRITE_MARKER_TTL_MS", 100)
    async with open_gate(redis_url) as gate:
        reader = Reader(gate, Visitor())
        await reader.begin()
        assert (await reader.look())[1].generation is None
        await until(lambda: generation_of(reader))
        assert marks(redis, reader.visitor) == 0
        await reader.store_read(await reader.look(), 1, b"new")
        assert await reader.cached() == b"new"


@pytest.mark.contract("1.9.3")
async def test_a_variant_ends_by_itself(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 seconds: so late do the writes of others show. Here a tenth of a second."""
    assert redis_keys.VARIANT_TTL_MS == 10_000
    monkeypatch.setattr(redis_keys, "VARIANT_TTL_MS", 100)
    async with open_gate(redis_url) as gate:
        reader = Reader(gate, Visitor())
        await reader.store_read(await reader.look(), 1, b"soon old")
        assert await reader.cached() == b"soon old"
        await until(lambda: missing(reader))


async def test_an_older_sequence_never_replaces_a_newer(reader: Reader) -> None:
    slow, fast = await reader.look(), await reader.look()
    await reader.store_read(fast, 7, b"new")
    await reader.store_read(slow, 6, b"old")
    assert await reader.cached() == b"new"
    await reader.write()
    await reader.store_read(await reader.look(), 6, b"old")
    assert await reader.cached() is None
    await reader.store_read(await reader.look(), 7, b"new")
    assert await reader.cached() == b"new"


async def test_one_variant_that_is_newer_ends_the_older_ones(reader: Reader) -> None:
    await reader.store_read(await reader.look("/accounts?"), 3, b"account")
    await reader.store_read(await reader.look("/transactions?"), 4, b"history")
    assert await reader.cached("/accounts?") is None
    assert await reader.cached("/transactions?") == b"history"


async def test_the_receiver_sees_a_transfer_at_once(reader: Reader) -> None:
    receiver = Reader(reader.gate, Visitor())
    await receiver.store_read(await receiver.look(), 3, b"before")
    reading = await receiver.look("/transactions?")
    write = await reader.begin()
    told = Completion(ANSWER, receivers=[receiver.visitor.user])
    await reader.gate.complete(write, told)
    assert await receiver.cached() is None
    await receiver.store_read(reading, 3, b"before")
    assert await receiver.cached("/transactions?") is None
    await receiver.store_read(await receiver.look(), 4, b"after")
    assert await receiver.cached() == b"after"
    await receiver.store_read(await receiver.look("/transactions?"), 4, b"after")
    assert await receiver.cached("/transactions?") == b"after"


async def test_a_write_that_left_no_mark_ends_what_was_cached_meanwhile(
    reader: Reader, redis: Redis
) -> None:
    """Redis was away when it began, or lost the mark: the answer is told all the same."""
    unmarked = reader.visitor.write()
    lost = await reader.begin()
    redis.hdel(reader.visitor.cache, f"w:{lost.token}")
    for write in (unmarked, lost):
        await reader.store_read(await reader.look(), 3, b"before")
        seen = await reader.look("/transactions?")
        await reader.gate.complete(write, Completion(ANSWER))
        assert await reader.cached() is None
        await reader.store_read(seen, 3, b"before")
        assert await reader.cached("/transactions?") is None


async def test_what_a_settlement_makes_ends_by_itself(reader: Reader, redis: Redis) -> None:
    """Nothing of either side is there yet."""
    receiver = Visitor()
    settlement = Completion(ANSWER, receivers=[receiver.user])
    await reader.gate.complete(reader.visitor.write(), settlement)
    for visitor in (reader.visitor, receiver):
        assert 0 < redis.pttl(visitor.cache) <= redis_keys.CACHE_HASH_TTL_MS


async def test_a_replay_or_a_refused_claim_sets_no_mark(reader: Reader, redis: Redis) -> None:
    """Else every retry would empty the cache."""
    write = await reader.begin()
    again = reader.visitor.write(key=write.key)
    assert (await reader.gate.admit(again)).kind == "in_progress"
    assert marks(redis, reader.visitor) == 1
    await reader.gate.complete(write, Completion(ANSWER))
    await reader.store_read(await reader.look(), 1, b"new")
    assert (await reader.gate.admit(again)).kind == "replayed"
    assert await reader.cached() == b"new"


async def test_at_most_16_variants_are_kept(reader: Reader, redis: Redis) -> None:
    for number in range(40):
        await reader.store_read(await reader.look(f"v{number}"), 1, b"%d" % number)
        assert await reader.cached(f"v{number}") == b"%d" % number
        assert variants(redis, reader.visitor) <= 16
    assert variants(redis, reader.visitor) == 16


async def test_everything_of_a_user_is_one_key_that_ends(reader: Reader, redis: Redis) -> None:
    """So a flush or an eviction takes the marks only together with what they hold back."""
    await reader.store_read(await reader.look(), 1, b"x")
    await reader.begin()
    keys: Any = redis.keys(f"fp:{{{reader.visitor.user}}}:*")
    others = [key for key in keys if b"}:session:" not in key and b"}:key:" not in key]
    assert others == [reader.visitor.cache.encode()]
    assert (
        redis_keys.WRITE_MARKER_TTL_MS
        < redis.pttl(reader.visitor.cache)
        <= redis_keys.CACHE_HASH_TTL_MS
    )


@pytest.mark.parametrize("settlement", [None, Completion(ANSWER)], ids=["open", "settled"])
@pytest.mark.parametrize("first", [b"", b"an earlier read"], ids=["first read", "later read"])
async def test_a_read_from_before_a_flush_is_not_stored_after_it(
    reader: Reader, redis: Redis, settlement: Completion | None, first: bytes
) -> None:
    """The write's mark is lost in the flush, and only the generation can tell."""
    if first:
        await reader.store_read(await reader.look(), 1, first)
    seen = await reader.look("/transactions?")
    write = await reader.begin()
    if settlement is not None:
        await reader.gate.complete(write, settlement)
    redis.delete(reader.visitor.cache)
    await reader.store_read(seen, 8, b"from before the write")
    assert await reader.cached("/transactions?") is None


async def until(condition: Any, limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not await condition():
            await asyncio.sleep(0.01)


async def generation_of(reader: Reader) -> bool:
    return (await reader.look())[1].generation is not None


async def missing(reader: Reader) -> bool:
    return await reader.cached() is None


def marks(redis: Redis, visitor: Visitor) -> int:
    return fields(redis, visitor, b"w:")


def variants(redis: Redis, visitor: Visitor) -> int:
    return fields(redis, visitor, b"v:")


def fields(redis: Redis, visitor: Visitor, prefix: bytes) -> int:
    names: Any = redis.hkeys(visitor.cache)
    return sum(name.startswith(prefix) for name in names)
