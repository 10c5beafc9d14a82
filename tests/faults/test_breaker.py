"""The breaker before Redis opens for every kind of trouble, and always closes again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest
import uvloop
from redis import Redis

from finpay import settings
from finpay.gate.gate import _script_constants
from finpay.gate.redis_client import RedisClient, RedisUnavailable
from tests.faults.tcp_proxy import Proxy, proxy_before
from tests.servers import OwnValkey

LIMIT_S: Final = 5.0
MINUTE_MS: Final = 60_000

Play = Callable[[RedisClient, Proxy, "Redis"], Coroutine[Any, Any, None]]


@pytest.fixture
def stage(own_valkey: Callable[..., OwnValkey]) -> Callable[[Play], None]:
    """Plays with a channel, the proxy that it goes through, and a client that goes past it.

    In uvloop, as the service does: it fails in ways of its own.
    """
    valkey = own_valkey()

    def run(play: Play) -> None:
        with proxy_before(valkey.url) as (proxy, url), Redis.from_url(valkey.url) as redis:

            async def main() -> None:
                channel = RedisClient(url, _script_constants(settings.read()))
                await channel.start()
                assert not channel.is_open
                try:
                    await play(channel, proxy, redis)
                finally:  # uvloop does not end before its connections
                    await channel.close()

            uvloop.run(main())

    return run


async def until(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not is_so():
            await asyncio.sleep(0.005)


def test_unexpected_error_while_connecting_counts_as_unavailable(
    stage: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uvloop raises RuntimeError for a connection that is reset while it is opened."""

    async def closed(*_: object, **__: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    async def play(client: RedisClient, proxy: Proxy, redis: Redis) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(client._redis, "script_load", closed)
            redis.client_kill_filter(_type="normal", skipme=True)
            await client.ping()
            await until(lambda: client.is_open)
            with pytest.raises(RedisUnavailable):
                await client.call("admit_anonymous", ["key"], [1, MINUTE_MS, 1])
            assert not await client._probe(), "and the next attempt fails too"
        await until(lambda: not client.is_open)

    stage(play)


def test_it_opens_for_a_server_that_takes_no_writes(stage: Callable[[Play], None]) -> None:
    """Nobody asks it anything but the probe."""

    async def play(client: RedisClient, proxy: Proxy, redis: Redis) -> None:
        redis.config_set("maxmemory", 1)
        await client.ping()
        assert client.is_open
        redis.config_set("maxmemory", 0)
        await until(lambda: not client.is_open)

    stage(play)


def test_what_is_owed_is_written_before_anything_is_asked(stage: Callable[[Play], None]) -> None:
    """One debt is made while another is being paid."""

    async def play(client: RedisClient, proxy: Proxy, redis: Redis) -> None:
        proxy.mute = True
        await client.set_durably(["first"], "revoked", MINUTE_MS)
        assert client.is_open
        proxy.mute = False
        proxy.delay_s = 0.02
        redis.delete("first")
        await until(lambda: redis.get("first"))
        assert client.is_open, "the answer is still under way"
        await client.set_durably(["second"], "revoked", MINUTE_MS)
        await until(lambda: not client.is_open)
        assert (redis.get("first"), redis.get("second")) == (b"revoked", b"revoked")
        assert 0 < redis.pttl("second") <= MINUTE_MS

    stage(play)
