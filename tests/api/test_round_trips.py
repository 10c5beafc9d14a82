"""Round trips of a request to Valkey and PostgreSQL, counted in a proxy."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from redis import Redis

from finpay.gate import redis_keys
from tests.api.test_api_keys import key_of
from tests.api_process import PASSWORD, Api, User, running_api
from tests.round_trip_proxy import Recorder, recorder_before

# Queries that belong to no request: of the health monitor and of the request log. They have
# connections of their own.
BACKGROUND: Final = (b"ledger.verification_state", b"INSERT INTO identity.requests")
CALL: Final = b"EVALSHA"


@dataclass(frozen=True)
class Wire:
    """One process, with a recording proxy before each of its servers."""

    api: Api
    redis: Recorder
    postgres: Recorder

    def during(self, work: Callable[[], object]) -> tuple[list[int], int]:
        """The script calls in each Redis pipeline, and the round trips to PostgreSQL, of `work`."""
        self.redis.start_counting()
        self.postgres.start_counting()
        work()
        pipelines = [trip.count(CALL) for trip in self.redis.trips() if CALL in trip]
        return pipelines, len(self.postgres.trips(but_on_connections_with=BACKGROUND))


@pytest.fixture(scope="module")
def wire(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Wire]:
    """With high limits, so that requests may be repeated; tiers cost no further round trip."""
    limits = {
        f"FINPAY_RATE_LIMIT_{tier}": "90000/900" for tier in ("GLOBAL", "AUTH", "TRANSACTION")
    }
    folder = tmp_path_factory.mktemp("wire")
    with (
        recorder_before(database_url) as (postgres, database),
        recorder_before(redis_url) as (redis, cache),
        running_api(folder, database, cache, **limits) as api,
    ):
        yield Wire(api, redis, postgres)


@pytest.fixture(scope="module")
def alice(wire: Wire) -> User:
    """A user whose session and connections are warm."""
    alice = wire.api.user(1_000_000)
    alice.send(alice, 1, "warm")
    for path in ("/accounts", "/transactions", "/accounts/entries"):
        alice.get(path)
    return alice


@pytest.fixture(scope="module")
def bob(wire: Wire) -> User:
    return wire.api.user()


@pytest.mark.contract("1.9.4")
def test_a_transfer_costs_one_pipeline_before_one_statement_and_one_pipeline_after(
    wire: Wire, alice: User, bob: User
) -> None:
    """The second pipeline invalidates the caches of both sides."""
    for number in range(3):
        assert wire.during(partial(alice.send, bob, 1, f"one-{number}")) == ([1, 1], 1)


@pytest.mark.contract("1.9.4", "1.6.8")
def test_an_api_key_costs_no_more_than_a_session(wire: Wire, alice: User, bob: User) -> None:
    """Once this process has looked it up, and its marker is in Redis."""
    secret = key_of(alice)["secret"]
    server = replace(alice, client=wire.api.client(api_key=secret))
    server.send(bob, 1, "key-warm")
    for number in range(3):
        assert wire.during(partial(server.send, bob, 1, f"key-{number}")) == ([1, 1], 1)
    server.get("/auth/me")
    assert wire.during(partial(server.get, "/auth/me")) == ([1], 1)


def test_a_refused_transfer_costs_no_more(wire: Wire, alice: User, bob: User) -> None:
    assert wire.during(lambda: alice.send(bob, 10**12, "poor")) == ([1, 1], 1)


def test_a_replay_costs_one_pipeline(wire: Wire, alice: User, bob: User) -> None:
    alice.send(bob, 1, "replayed")
    assert wire.during(lambda: alice.send(bob, 1, "replayed")) == ([1], 0)
    assert wire.during(lambda: alice.send(bob, 2, "replayed")) == ([1], 0)


@pytest.mark.contract("1.8.4")
def test_an_invalid_request_costs_one_pipeline(wire: Wire, alice: User, bob: User) -> None:
    assert wire.during(lambda: alice.send(bob, 0, "faulty")) == ([1], 0)


@pytest.mark.parametrize("path", ["/accounts", "/transactions", "/transactions?limit=5"])
def test_a_read_costs_one_pipeline_from_the_cache_and_two_without(
    wire: Wire, alice: User, bob: User, path: str
) -> None:
    alice.send(bob, 1, f"refresh-{path}".replace("?", "-"))
    pipelines, trips = wire.during(lambda: alice.get(path))
    assert pipelines == [1, 1]
    assert trips == 1
    for _ in range(3):
        assert wire.during(lambda: alice.get(path)) == ([1], 0)


def test_a_refused_token_costs_nothing(wire: Wire) -> None:
    client = wire.api.client(access_token="not.a.token")
    assert wire.during(lambda: client.request("GET", "/api/v1/accounts")) == ([], 0)


def test_health_and_unknown_paths_cost_nothing(wire: Wire) -> None:
    client = wire.api.client()

    def work() -> None:
        for path in ("/api/v1/health", "/livez", "/readyz", "/nothing", "/metrics"):
            client.request("GET", path)

    assert wire.during(work) == ([], 0)


def test_a_page_costs_one_call_of_redis(wire: Wire) -> None:
    client = wire.api.client()
    assert wire.during(lambda: client.request("GET", "/docs")) == ([1], 0)


@pytest.mark.contract("1.6.4")
def test_a_session_without_a_marker_costs_one_query_and_one_call_more(
    wire: Wire, alice: User, redis_url: str
) -> None:
    session = wire.api.sql(
        "SELECT ledger.type_id('ses', s.id) AS id FROM identity.sessions s"
        " JOIN identity.users u ON u.id = s.user_id WHERE u.email = $1",
        alice.email,
    )[0]["id"]
    with Redis.from_url(redis_url) as redis:
        assert redis.delete(redis_keys.session_marker(alice.user_id, session)) == 1
    work = partial(alice.client.request, "POST", "/api/v1/transactions", json={})
    assert wire.during(work) == ([1, 1], 1)
    assert wire.during(work) == ([1], 0)


@pytest.mark.contract("1.9.4")
def test_a_login_counts_all_its_tiers_in_one_pipeline(wire: Wire, alice: User) -> None:
    client = wire.api.client()
    pipelines, _ = wire.during(lambda: client.login(alice.email, PASSWORD))
    assert pipelines == [1]


def test_concurrent_requests_share_pipelines_and_commits(
    wire: Wire, alice: User, bob: User
) -> None:
    """Forty concurrent transfers of one user on forty connections."""
    wire.during(lambda: asyncio.run(burst(wire.api, alice, bob, "warm")))
    pipelines, trips = wire.during(lambda: asyncio.run(burst(wire.api, alice, bob, "count")))
    # Four and two on an idle machine, with one call each; alone they would be eighty and forty.
    assert 2 <= len(pipelines) <= 16
    assert sum(pipelines) <= 20
    assert 1 <= trips <= 10


async def burst(api: Api, sender: User, receiver: User, prefix: str, size: int = 40) -> None:
    """Sends `size` concurrent transfers; checks that all succeed."""
    address = urlsplit(api.url)
    lines = [await asyncio.open_connection(address.hostname, address.port) for _ in range(size)]
    body = json.dumps({"receiver_id": receiver.account_id, "amount": 1}).encode()
    for number, (_, writer) in enumerate(lines):
        head = (
            f"POST /api/v1/transactions HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {sender.token}\r\nContent-Type: application/json\r\n"
            f"X-Idempotency-Key: {prefix}-{number}-{time.monotonic_ns()}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
    answers: list[Any] = await asyncio.gather(*(reader.read() for reader, _ in lines))
    for _, writer in lines:
        writer.close()
        await writer.wait_closed()
    assert all(answer.startswith(b"HTTP/1.1 201 ") for answer in answers), answers[0]
