"""Data is restored while Redis keeps its keys: answers that the data lacks are not replayed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from finpay import settings
from finpay.dev.postgres import Cluster
from finpay.doctor.redis import check
from finpay.gate import redis_keys
from finpay.gate.known_database import DatabaseState
from finpay.settings import Settings
from tests.api_process import PASSWORD, Api, User, running_api
from tests.gate.requests import open_gate
from tests.servers import OwnValkey

NOW = DatabaseState("cluster.database.table.timeline", 1_000)
LATER = DatabaseState(NOW.history, 2_000)
OTHER = DatabaseState("cluster.database.table.next", 3_000)


@contextmanager
def backup_of(cluster: Cluster, url: str) -> Iterator[str]:
    """A copy of a database without connections."""
    name = url.rpartition("/")[2]
    cluster.sql(f'CREATE DATABASE "{name}_backup" TEMPLATE "{name}"')
    yield cluster.url(f"{name}_backup")
    cluster.sql(f'DROP DATABASE "{name}_backup" WITH (FORCE)')


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
    before: DatabaseState | None,
    after: DatabaseState,
    *,
    kept: bool,
) -> None:
    """Keys of other programs stay."""
    server = own_valkey()
    with Redis.from_url(server.url) as redis:
        async with open_gate(server.url) as gate:
            if before is not None:
                await gate.adopt_database(before)
            redis.mset({f"fp:{n}": 1 for n in range(2_500)} | {"other": 1})
            assert await gate.adopt_database(after)
        assert redis.exists("fp:0", "fp:2499") == (2 if kept else 0)
        assert redis.exists("other") == 1
        stored = redis.hgetall(redis_keys.DATABASE)
        assert stored == {
            b"history": after.history.encode(),
            b"position": str(after.position).encode(),
        }


@pytest.mark.fault("M4")
async def test_a_position_is_recorded_for_the_same_data_alone(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    with Redis.from_url(server.url) as redis:
        async with open_gate(server.url) as gate:
            await gate.adopt_database(NOW)
            for state, stored in ((LATER, b"2000"), (NOW, b"2000"), (OTHER, b"2000")):
                await gate.record_position(state)
                assert redis.hget(redis_keys.DATABASE, "position") == stored


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
