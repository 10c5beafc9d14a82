"""Fixtures for tests of the gate on a real Valkey."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from redis import Redis

from finpay.gate.gate import Gate
from tests.gate.requests import Sessions, Visitor, open_gate
from tests.servers import OwnValkey


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
async def gate(redis_url: str, sessions: Sessions) -> AsyncIterator[Gate]:
    """A gate on the worker's Valkey; `sessions` stands for PostgreSQL."""
    async with open_gate(redis_url, sessions) as gate:
        yield gate


@pytest.fixture
def visitor() -> Visitor:
    """Somebody whom no gate has seen."""
    return Visitor()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """The same Valkey, to look into."""
    with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def valkey(own_valkey: Callable[..., OwnValkey]) -> OwnValkey:
    """One that may be stopped, hung and filled."""
    return own_valkey()


@pytest.fixture
def inside(valkey: OwnValkey) -> Iterator[Redis]:
    """A look into it, past the gate."""
    with Redis.from_url(valkey.url) as redis:
        yield redis
