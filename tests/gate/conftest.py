"""Fixtures for tests of the gate on a real Valkey."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from redis import Redis

from finpay.gate.gate import Gate
from tests.gate.requests import Caller, Sessions, open_gate
from tests.servers import OwnValkey


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture(scope="session")
def redis_url(other_redis_url: str) -> str:
    """Not that of the fixture `api`, whose keys belong to its database."""
    return other_redis_url


@pytest.fixture
async def gate(redis_url: str, sessions: Sessions) -> AsyncIterator[Gate]:
    """A gate on the worker's Valkey; `sessions` stands for PostgreSQL."""
    async with open_gate(redis_url, sessions) as gate:
        yield gate


@pytest.fixture
def caller() -> Caller:
    """A user whose session has no marker in Redis yet."""
    return Caller()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A plain client of the same Valkey, for assertions about its keys."""
    with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def valkey(own_valkey: Callable[..., OwnValkey]) -> OwnValkey:
    """A Valkey of this test alone, which it may stop, suspend and fill."""
    return own_valkey()


@pytest.fixture
def inside(valkey: OwnValkey) -> Iterator[Redis]:
    """A plain client of `valkey`, which does not go through the gate."""
    with Redis.from_url(valkey.url) as redis:
        yield redis
