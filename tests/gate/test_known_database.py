"""Keys in Redis belong to the data of PostgreSQL that they were made from."""

import asyncio
from collections.abc import Callable

import pytest
from redis import Redis

from finpay.db.data_state import DataState
from finpay.gate import known_database, redis_keys
from finpay.gate.gate import Completion, Gate
from tests.gate.requests import FINGERPRINT, Caller, give_data, open_gate
from tests.servers import OwnValkey

NOW = DataState("cluster.database.table.timeline", 1_000)
EARLIER = DataState(NOW.history, 500)
LATER = DataState(NOW.history, 2_000)
OTHER = DataState("cluster.database.table.next", 3_000)
STORED = Completion((FINGERPRINT, 201, b"{}"))


async def pay(gate: Gate, caller: Caller) -> None:
    admission = caller.write()
    await gate.admit(admission)
    await gate.complete(admission, STORED)


@pytest.mark.fault("M4")
@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (None, NOW, False),
        (NOW, NOW, True),
        (NOW, LATER, True),
        (LATER, NOW, False),
        (NOW, OTHER, False),
    ],
    ids=["unknown", "unchanged", "later", "earlier", "other history"],
)
async def test_keys_of_other_data_are_deleted(
    own_valkey: Callable[..., OwnValkey],
    before: DataState | None,
    after: DataState,
    *,
    kept: bool,
) -> None:
    """Keys of other programs stay."""
    server = own_valkey()
    with Redis.from_url(server.url) as redis:
        if before is not None:
            async with open_gate(server.url, data=before) as gate:
                await gate.known_database.record(before)
        redis.mset({f"fp:{n}": 1 for n in range(2_500)} | {"other": 1})
        async with open_gate(server.url, data=None) as gate:
            assert await give_data(gate, after)
        assert redis.exists("fp:0", "fp:2499") == (2 if kept else 0)
        assert redis.exists("other") == 1
        assert redis.hget(redis_keys.DATABASE, "history") == after.history.encode()


@pytest.mark.fault("M4")
async def test_the_highest_position_is_recorded_for_the_same_data_alone(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    with Redis.from_url(server.url) as redis:
        async with open_gate(server.url, data=NOW) as gate:
            for state, stored in (
                (NOW, b"1000"),
                (LATER, b"2000"),
                (NOW, b"2000"),
                (OTHER, b"2000"),
            ):
                await gate.known_database.record(state)
                assert redis.hget(redis_keys.DATABASE, "position") == stored


@pytest.mark.fault("M4")
@pytest.mark.parametrize("after", [OTHER, EARLIER], ids=["other history", "earlier"])
async def test_answers_are_not_replayed_after_one_process_connected_to_other_data(
    own_valkey: Callable[..., OwnValkey], caller: Caller, after: DataState
) -> None:
    """Neither by the process that did not, nor before all keys are deleted."""
    url = own_valkey().url
    async with open_gate(url, data=NOW) as one, open_gate(url, data=NOW) as other:
        await one.known_database.record(NOW)
        await pay(one, caller)
        assert (await other.admit(caller.write())).kind == "replayed"
        late = caller.write("a-late-answer")
        await other.admit(late)
        assert not await one.known_database.check(NOW, after)
        for gate in (one, other, other):
            decision = await gate.admit(caller.write())
            assert (decision.kind, decision.degraded) == ("admitted", True)
        await other.complete(late, STORED)
        assert await one.known_database.adopt(after)
        await other.complete(late, STORED)
        assert await give_data(other, after)
        for key in ("k", "a-late-answer"):
            decision = await other.admit(caller.write(key))
            assert (decision.kind, decision.degraded) == ("admitted", False)


@pytest.mark.fault("M4")
async def test_a_process_that_adopts_late_deletes_nothing_of_the_new_data(
    own_valkey: Callable[..., OwnValkey], caller: Caller
) -> None:
    url = own_valkey().url
    async with open_gate(url, data=NOW) as one, open_gate(url, data=NOW) as other:
        assert not await one.known_database.check(NOW, OTHER)
        assert not await other.known_database.check(NOW, OTHER)
        assert await one.known_database.adopt(OTHER)
        await pay(one, caller)
        assert await other.known_database.adopt(OTHER)
        assert (await other.admit(caller.write())).kind == "replayed"
        assert await other.known_database.check(NOW, OTHER)
        assert (await one.admit(caller.write())).kind == "replayed"


@pytest.mark.fault("M4")
async def test_an_earlier_position_of_another_process_is_no_restore(
    own_valkey: Callable[..., OwnValkey], caller: Caller
) -> None:
    """It asked PostgreSQL earlier, and Redis later."""
    url = own_valkey().url
    async with open_gate(url, data=NOW) as one, open_gate(url, data=None) as other:
        await pay(one, caller)
        known = await other.known_database.read()
        await one.known_database.record(LATER)
        assert await other.known_database.check(known, NOW)
        assert (await other.admit(caller.write())).kind == "replayed"


@pytest.mark.fault("M4")
async def test_a_later_position_of_another_process_is_no_restore(
    own_valkey: Callable[..., OwnValkey], caller: Caller
) -> None:
    """It adopted the data and recorded its position after this process asked PostgreSQL."""
    url = own_valkey().url
    async with open_gate(url, data=NOW) as one, open_gate(url, data=NOW) as late:
        known = await late.known_database.read()
        assert await give_data(one, OTHER)
        await pay(one, caller)
        await one.known_database.record(DataState(OTHER.history, OTHER.position + 1))
        assert await late.known_database.check(known, OTHER)
        assert (await late.admit(caller.write())).kind == "replayed"


@pytest.mark.fault("M4")
async def test_own_writes_are_not_stale_where_another_process_knows_the_new_data(
    own_valkey: Callable[..., OwnValkey], caller: Caller
) -> None:
    """A process that does not know it yet writes without Redis, and ends what others cached."""
    url = own_valkey().url
    async with open_gate(url, data=NOW) as one, open_gate(url, data=NOW) as late:
        assert not await one.known_database.check(NOW, OTHER)
        write, read = caller.write(), caller.read()
        assert (await late.admit(write)).degraded
        assert await one.known_database.adopt(OTHER)
        admitted = await one.admit(read)
        await one.store_read(read, str(admitted.generation), 1, b"before the write")
        assert (await one.admit(caller.read())).kind == "cache_hit"
        await late.complete(write, STORED)
        assert (await one.admit(caller.read())).kind == "admitted"


@pytest.mark.fault("M4")
async def test_ended_sessions_stay_ended(
    own_valkey: Callable[..., OwnValkey], caller: Caller
) -> None:
    url = own_valkey().url
    async with open_gate(url, data=NOW) as gate:
        await gate.end_sessions(caller.user, [caller.session])
        assert await give_data(gate, OTHER)
        assert (await gate.admit(caller.admission())).kind == "revoked"


@pytest.mark.fault("M4")
async def test_deleting_goes_on_at_the_next_health_check(
    own_valkey: Callable[..., OwnValkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_database, "ADOPT_S", 0.0)
    server = own_valkey()
    with Redis.from_url(server.url) as redis:
        async with open_gate(server.url, data=None) as gate:
            redis.set("fp:1", 1)
            assert not await give_data(gate, NOW)
            assert (await gate.admit_anonymous([])).degraded
            monkeypatch.setattr(known_database, "ADOPT_S", 1.0)
            assert await give_data(gate, NOW)
        assert not redis.exists("fp:1")


@pytest.mark.fault("M4")
async def test_all_connections_of_a_process_may_be_new_at_once(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    """Each asks Redis before its first statement."""
    async with open_gate(own_valkey().url, data=None) as gate:
        await asyncio.gather(*(gate.known_database.read() for _ in range(20)))
        assert not gate.redis_down


@pytest.mark.fault("M4")
async def test_an_emptied_redis_is_used_at_once(
    own_valkey: Callable[..., OwnValkey], caller: Caller
) -> None:
    url = own_valkey().url
    with Redis.from_url(url) as redis:
        async with open_gate(url, data=NOW) as gate:
            redis.flushall()
            redis.set(redis_keys.PROBE, 1)
            assert not (await gate.admit(caller.write())).degraded
            assert redis.hget(redis_keys.DATABASE, "history") == NOW.history.encode()


@pytest.mark.fault("M4")
async def test_keys_whose_data_was_evicted_are_deleted(
    own_valkey: Callable[..., OwnValkey], caller: Caller
) -> None:
    url = own_valkey().url
    with Redis.from_url(url) as redis:
        async with open_gate(url, data=NOW) as gate:
            await pay(gate, caller)
            redis.delete(redis_keys.DATABASE)
            assert (await gate.admit(caller.write())).degraded
            assert await give_data(gate, NOW)
            decision = await gate.admit(caller.write())
            assert (decision.kind, decision.degraded) == ("admitted", False)
