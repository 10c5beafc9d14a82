"""The cache of one user: write markers, generations and sequences keep it from being stale."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis

from finpay.gate import redis_keys
from finpay.gate.gate import Admission, Completion, Decision, Gate
from tests.gate.requests import FINGERPRINT, Caller, open_gate

ANSWER = (FINGERPRINT, 201, b"{}")


@dataclass
class Reader:
    """One user's reads, step by step as the pipeline takes them."""

    gate: Gate
    caller: Caller

    async def admit_read(self, variant: str = "/accounts?") -> tuple[Admission, Decision]:
        """The gate call of a read. Returns the admission, which `store_read` needs, too."""
        admission = self.caller.read(variant)
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
        _, decision = await self.admit_read(variant)
        return decision.payload if decision.kind == "cache_hit" else None

    async def write(self) -> None:
        """A whole money POST."""
        admission = await self.begin()
        await self.gate.complete(admission, Completion(ANSWER))

    async def begin(self) -> Admission:
        """A money POST that claimed its key: from here on a write may be in progress."""
        admission = self.caller.write(key=f"k{id(object())}-{len(self.begun)}")
        self.begun.append(admission)
        assert (await self.gate.admit(admission)).kind == "admitted"
        return admission

    def __post_init__(self) -> None:
        self.begun: list[Admission] = []


@pytest.fixture
def reader(gate: Gate, caller: Caller) -> Reader:
    return Reader(gate, caller)


async def test_a_stored_read_is_served_until_the_next_write(reader: Reader) -> None:
    assert await reader.cached() is None
    await reader.store_read(await reader.admit_read(), 3, b"payload \x00\xff\n1 2 3")
    for _ in range(2):
        assert await reader.cached() == b"payload \x00\xff\n1 2 3"
    await reader.write()
    assert await reader.cached() is None


async def test_nothing_is_served_or_stored_while_a_write_is_in_progress(reader: Reader) -> None:
    await reader.store_read(await reader.admit_read(), 3, b"old")
    await reader.begin()
    seen = await reader.admit_read()
    assert (seen[1].kind, seen[1].generation) == ("admitted", None)
    await reader.store_read(seen, 3, b"old")
    assert await reader.cached() is None


async def test_a_read_that_began_before_a_write_is_not_stored_after_it(reader: Reader) -> None:
    """Whether the write is complete by then or not, and even if it changed nothing."""
    for completion in (Completion(ANSWER), Completion(), None):
        seen = await reader.admit_read()
        write = await reader.begin()
        if completion is not None:
            await reader.gate.complete(write, completion)
        await reader.store_read(seen, 5, b"may be old")
        assert await reader.cached() is None


async def test_a_read_from_before_a_write_does_not_replace_a_read_from_after_it(
    reader: Reader,
) -> None:
    """The write between the two reads changed nothing, so both have the same sequence."""
    slow = await reader.admit_read()
    await reader.gate.complete(await reader.begin(), Completion(ANSWER))
    await reader.store_read(await reader.admit_read(), 5, b"new")
    await reader.store_read(slow, 5, b"from before the write")
    assert await reader.cached() == b"new"


async def test_a_write_removes_only_its_own_marker(reader: Reader, redis: Redis) -> None:
    first, second = await reader.begin(), await reader.begin()
    await reader.gate.complete(first, Completion(ANSWER))
    await reader.gate.complete(first, Completion(ANSWER))
    assert (await reader.admit_read())[1].generation is None
    await reader.gate.complete(second, Completion(ANSWER))
    await reader.store_read(await reader.admit_read(), 2, b"new")
    assert await reader.cached() == b"new"
    assert write_markers(redis, reader.caller) == 0


async def test_an_unknown_outcome_keeps_the_write_marker(reader: Reader, redis: Redis) -> None:
    write = await reader.begin()
    await reader.gate.complete(write, Completion(outcome_known=False))
    assert (await reader.admit_read())[1].generation is None
    assert write_markers(redis, reader.caller) == 1


async def test_an_unknown_outcome_of_a_write_without_a_marker_sets_one(
    reader: Reader, redis: Redis
) -> None:
    seen = await reader.admit_read()
    await reader.gate.complete(reader.caller.write(), Completion(outcome_known=False))
    assert (await reader.admit_read())[1].generation is None
    await reader.store_read(seen, 3, b"from before it")
    assert variants(redis, reader.caller) == 0
    assert (
        redis_keys.WRITE_MARKER_TTL_MS
        < redis.pttl(reader.caller.cache)
        <= redis_keys.CACHE_HASH_TTL_MS
    )


async def test_a_write_marker_expires(
    redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 30 seconds, when no statement can commit any more. Here after a tenth of a second."""
    assert redis_keys.WRITE_MARKER_TTL_MS == 30_000
    monkeypatch.setattr(redis_keys, "WRITE_MARKER_TTL_MS", 100)
    async with open_gate(redis_url) as gate:
        reader = Reader(gate, Caller())
        await reader.begin()
        assert (await reader.admit_read())[1].generation is None
        await until(lambda: generation_of(reader))
        assert write_markers(redis, reader.caller) == 0
        await reader.store_read(await reader.admit_read(), 1, b"new")
        assert await reader.cached() == b"new"


@pytest.mark.contract("1.9.3")
async def test_a_cached_read_expires(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 10 seconds, so changes by other users are visible. Here after a tenth of a second."""
    assert redis_keys.VARIANT_TTL_MS == 10_000
    monkeypatch.setattr(redis_keys, "VARIANT_TTL_MS", 100)
    async with open_gate(redis_url) as gate:
        reader = Reader(gate, Caller())
        await reader.store_read(await reader.admit_read(), 1, b"soon old")
        assert await reader.cached() == b"soon old"
        await until(lambda: missing(reader))


async def test_a_lower_sequence_never_replaces_a_higher_one(reader: Reader) -> None:
    slow, fast = await reader.admit_read(), await reader.admit_read()
    await reader.store_read(fast, 7, b"new")
    await reader.store_read(slow, 6, b"old")
    assert await reader.cached() == b"new"
    await reader.write()
    await reader.store_read(await reader.admit_read(), 6, b"old")
    assert await reader.cached() is None
    await reader.store_read(await reader.admit_read(), 7, b"new")
    assert await reader.cached() == b"new"


async def test_a_variant_with_a_higher_sequence_invalidates_the_others(reader: Reader) -> None:
    await reader.store_read(await reader.admit_read("/accounts?"), 3, b"account")
    await reader.store_read(await reader.admit_read("/transactions?"), 4, b"history")
    assert await reader.cached("/accounts?") is None
    assert await reader.cached("/transactions?") == b"history"


async def test_a_transfer_invalidates_the_cache_of_its_receiver(reader: Reader) -> None:
    receiver = Reader(reader.gate, Caller())
    await receiver.store_read(await receiver.admit_read(), 3, b"before")
    reading = await receiver.admit_read("/transactions?")
    write = await reader.begin()
    completion = Completion(ANSWER, receivers=[receiver.caller.user])
    await reader.gate.complete(write, completion)
    assert await receiver.cached() is None
    await receiver.store_read(reading, 3, b"before")
    assert await receiver.cached("/transactions?") is None
    await receiver.store_read(await receiver.admit_read(), 4, b"after")
    assert await receiver.cached() == b"after"
    await receiver.store_read(await receiver.admit_read("/transactions?"), 4, b"after")
    assert await receiver.cached("/transactions?") == b"after"


async def test_the_completion_of_a_write_without_a_marker_invalidates_the_cache(
    reader: Reader, redis: Redis
) -> None:
    """Redis was unavailable when the write began, or has lost its marker."""
    unmarked = reader.caller.write()
    lost = await reader.begin()
    redis.hdel(reader.caller.cache, f"w:{lost.token}")
    for write in (unmarked, lost):
        await reader.store_read(await reader.admit_read(), 3, b"before")
        seen = await reader.admit_read("/transactions?")
        await reader.gate.complete(write, Completion(ANSWER))
        assert await reader.cached() is None
        await reader.store_read(seen, 3, b"before")
        assert await reader.cached("/transactions?") is None


async def test_keys_that_a_completion_creates_expire(reader: Reader, redis: Redis) -> None:
    """Neither sender nor receiver had a cache before."""
    receiver = Caller()
    completion = Completion(ANSWER, receivers=[receiver.user])
    await reader.gate.complete(reader.caller.write(), completion)
    for caller in (reader.caller, receiver):
        assert 0 < redis.pttl(caller.cache) <= redis_keys.CACHE_HASH_TTL_MS


async def test_a_replay_or_a_refused_claim_sets_no_marker(reader: Reader, redis: Redis) -> None:
    """Otherwise every retry would empty the cache."""
    write = await reader.begin()
    retry = reader.caller.write(key=write.key)
    assert (await reader.gate.admit(retry)).kind == "in_progress"
    assert write_markers(redis, reader.caller) == 1
    await reader.gate.complete(write, Completion(ANSWER))
    await reader.store_read(await reader.admit_read(), 1, b"new")
    assert (await reader.gate.admit(retry)).kind == "replayed"
    assert await reader.cached() == b"new"


async def test_at_most_16_variants_are_kept(reader: Reader, redis: Redis) -> None:
    for number in range(40):
        await reader.store_read(await reader.admit_read(f"v{number}"), 1, b"%d" % number)
        assert await reader.cached(f"v{number}") == b"%d" % number
        assert variants(redis, reader.caller) <= 16
    assert variants(redis, reader.caller) == 16


async def test_the_cache_of_a_user_is_one_key_that_expires(reader: Reader, redis: Redis) -> None:
    """A flush or an eviction removes the write markers only together with the cached reads."""
    await reader.store_read(await reader.admit_read(), 1, b"x")
    await reader.begin()
    keys: Any = redis.keys(f"fp:{{{reader.caller.user}}}:*")
    others = [key for key in keys if b"}:session:" not in key and b"}:key:" not in key]
    assert others == [reader.caller.cache.encode()]
    assert (
        redis_keys.WRITE_MARKER_TTL_MS
        < redis.pttl(reader.caller.cache)
        <= redis_keys.CACHE_HASH_TTL_MS
    )


@pytest.mark.parametrize("completion", [None, Completion(ANSWER)], ids=["in progress", "complete"])
@pytest.mark.parametrize("first", [b"", b"an earlier read"], ids=["first read", "later read"])
async def test_a_read_from_before_a_flush_is_not_stored_after_it(
    reader: Reader, redis: Redis, completion: Completion | None, first: bytes
) -> None:
    """The flush removed the write marker; only the generation shows that the read is older."""
    if first:
        await reader.store_read(await reader.admit_read(), 1, first)
    seen = await reader.admit_read("/transactions?")
    write = await reader.begin()
    if completion is not None:
        await reader.gate.complete(write, completion)
    redis.delete(reader.caller.cache)
    await reader.store_read(seen, 8, b"from before the write")
    assert await reader.cached("/transactions?") is None


async def until(condition: Any, limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not await condition():
            await asyncio.sleep(0.01)


async def generation_of(reader: Reader) -> bool:
    return (await reader.admit_read())[1].generation is not None


async def missing(reader: Reader) -> bool:
    return await reader.cached() is None


def write_markers(redis: Redis, caller: Caller) -> int:
    return fields(redis, caller, b"w:")


def variants(redis: Redis, caller: Caller) -> int:
    return fields(redis, caller, b"v:")


def fields(redis: Redis, caller: Caller, prefix: bytes) -> int:
    names: Any = redis.hkeys(caller.cache)
    return sum(name.startswith(prefix) for name in names)
