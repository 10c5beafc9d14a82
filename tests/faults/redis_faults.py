"""Faults of a Redis, each until the end of a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.servers import OwnValkey


@contextmanager
def stopped(valkey: OwnValkey) -> Iterator[None]:
    valkey.stop()
    try:
        yield
    finally:
        valkey.start()


@contextmanager
def hung(valkey: OwnValkey) -> Iterator[None]:
    valkey.hang()
    try:
        yield
    finally:
        valkey.resume()


@contextmanager
def full(valkey: OwnValkey) -> Iterator[None]:
    with redis(valkey) as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", "256mb")


def assert_redis_refuses(valkey: OwnValkey) -> None:
    """The fault is real: a plain client can't write."""
    with pytest.raises(RedisError), redis(valkey) as client:
        client.set("control", "1")


@contextmanager
def redis(valkey: OwnValkey) -> Iterator[Redis]:
    with Redis.from_url(valkey.url, socket_timeout=0.5, retry=None) as client:
        yield client


def info(client: Redis, name: str) -> int:
    """One figure of INFO."""
    return int(client.info()[name])
