"""Data is restored while Redis keeps its keys: answers that the data lacks are not replayed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from finpay import settings
from finpay.db.data_state import DataState
from finpay.dev.postgres import Cluster
from finpay.doctor.redis import check
from finpay.gate import redis_keys
from finpay.gate.gate import Completion, Gate
from finpay.settings import Settings
from tests.api_process import PASSWORD, Api, User, running_api
from tests.gate.requests import FINGERPRINT, Caller, give_data, open_gate
from tests.servers import OwnValkey

NOW = DataState("cluster.database.table.timeline", 1_000)
EARLIER = DataState(NOW.history, 500)
LATER = DataState(NOW.history, 2_000)
OTHER = DataState("cluster.database.table.next", 3_000)
STORED = Completion((FINGERPRINT, 201, b"{}"))


@pytest.fixture
def caller() -> Caller:
    return Caller()


async def pay(gate: Gate, caller: Caller) -> None:
    admission = caller.write()
    await gate.admit(admission)
    await gate.complete(admission, STORED)


@contextmanager
def backup_of(cluster: Cluster, url: str) -> Iterator[str]:
    """A copy of a database, whose connections are ended."""
    name = url.rpartition("/")[2]
    with locked(cluster, name):
        cluster.sql(f'CREATE DATABASE "{name}_backup" TEMPLATE "{name}"')
    yield cluster.url(f"{name}_backup")
    cluster.sql(f'DROP DATABASE "{name}_backup" WITH (FORCE)')


def restore(cluster: Cluster, url: str, backup: str) -> None:
    """The copy takes the name of the database."""
    name, copy = (each.rpartition("/")[2] for each in (url, backup))
    with locked(cluster, name):
        cluster.sql(f'ALTER DATABASE "{name}" RENAME TO "{name}_before"')
        cluster.sql(f'CREATE DATABASE "{name}" TEMPLATE "{copy}"')
        cluster.sql(f'DROP DATABASE "{name}_before"')


@contextmanager
def locked(cluster: Cluster, name: str) -> Iterator[None]:
    """No client can connect to it, and none is connected."""
    cluster.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    cluster.sql(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
        f"WHERE datname = '{name}'"
    )
    yield
    cluster.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def log_in(api: Api, user: User) -> User:
    """The user with a client of this API."""
    client = api.client()
    client.login(user.email, PASSWORD)
    return User(client, user.email, user.user_id, user.account_id)


@pytest.mark.fault("M4")
def test_a_lost_transfer_is_done_and_not_replayed(
    postgres_server: Cluster,
    fresh_database: Callable[[], str],
    own_valkey: Callable[..., OwnValkey],
    tmp_path: Path,
) -> None:
    """Redis has the answer of its key; the backup was made before."""
    url, redis_url = fresh_database(), own_valkey().url
    with running_api(tmp_path, url, redis_url) as api:
        alice, bob = api.user(100), api.user()
    with backup_of(postgres_server, url) as backup:
        with running_api(tmp_path, url, redis_url) as api:
            user = log_in(api, alice)
            assert user.send(bob, 60, "a-lost-key").status == 201
            assert "Idempotent-Replayed" in user.send(bob, 60, "a-lost-key").headers
        with running_api(tmp_path, backup, redis_url) as api:
            user = log_in(api, alice)
            assert user.balance == 100
            repeated = user.send(bob, 60, "a-lost-key")
            assert repeated.status == 201
            assert "Idempotent-Replayed" not in repeated.headers
            assert user.balance == 40
            api.verify()
            assert "redis_cleared" in api.log.read_text("utf-8")


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


@pytest.mark.fault("M4")
def test_a_new_connection_to_other_data_ends_replays(
    postgres_server: Cluster,
    fresh_database: Callable[[], str],
    own_valkey: Callable[..., OwnValkey],
    tmp_path: Path,
) -> None:
    """Connections are lost, and the next ones lead to a backup: as after a failover that lost
    commits. Clients retry at once."""
    url, redis_url = fresh_database(), own_valkey().url
    with running_api(tmp_path, url, redis_url, FINPAY_WORKERS="2") as api:
        alice, bob = api.user(100), api.user()
        with backup_of(postgres_server, url) as backup:
            assert alice.send(bob, 60, "a-lost-key").status == 201
            assert "Idempotent-Replayed" in alice.send(bob, 60, "a-lost-key").headers
            restore(postgres_server, url, backup)
            answers = [alice.send(bob, 60, "a-lost-key") for _ in range(20)]
            assert {answer.status for answer in answers} <= {201, 503}
            done = [answer for answer in answers if answer.status == 201]
            assert "Idempotent-Replayed" not in done[0].headers
            assert all("Idempotent-Replayed" in answer.headers for answer in done[1:])
            assert alice.balance == 40
            api.verify()


@pytest.mark.fault("M4")
async def test_the_doctor_finds_keys_of_other_data(
    database_url: str, own_valkey: Callable[..., OwnValkey]
) -> None:
    url = own_valkey().url
    read = settings.read({"DATABASE_URL": database_url, "REDIS_URL": url})
    assert await doctor_state(read) == "ok"
    with Redis.from_url(url) as redis:
        redis.hset(redis_keys.DATABASE, mapping={"history": "another", "position": 1})
    assert await doctor_state(read) == "warning"


async def doctor_state(read: Settings) -> str:
    results = await check(read, dev_stack=True)
    return {result.name: result.state for result in results}["redis data"]
