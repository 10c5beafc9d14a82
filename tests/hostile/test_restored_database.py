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
from finpay.settings import Settings
from tests.api_process import PASSWORD, Api, User, running_api
from tests.servers import OwnValkey


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
