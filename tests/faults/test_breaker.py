"""The breaker before Redis opens for every kind of trouble, and always closes again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest
import uvloop
from redis import Redis

from finpay.gate.redis_client import RedisClient, RedisUnavailable, read_script
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
                channel = RedisClient(url, [])
                await channel.start()
                assert not channel.open
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


def test_a_surprise_of_the_event_loop_is_a_lost_line_like_others(
    stage: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What uvloop says, now and then, of a line that is reset while it is being opened."""

    async def closed(*_: object, **__: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    async def play(channel: RedisClient, proxy: Proxy, redis: Redis) -> None:
        script = read_script("admit_anonymous")
        with monkeypatch.context() as patched:
            patched.setattr(channel, "_connected", closed)
            assert channel._line is not None
            channel._line.hang_up()
            await until(lambda: channel.open)
            with pytest.raises(RedisUnavailable):
                await channel.call(script, ["key"], [1, MINUTE_MS, 1])
            assert not await channel._try(), "and the next one surprises too"
            await asyncio.sleep(0)
        await until(lambda: not channel.open)

    stage(play)


def test_it_opens_for_a_server_that_takes_no_writes(stage: Callable[[Play], None]) -> None:
    """Nobody asks it anything but the probe."""

    async def play(channel: RedisClient, proxy: Proxy, redis: Redis) -> None:
        redis.config_set("maxmemory", 1)
        await channel.ping()
        assert channel.open
        redis.config_set("maxmemory", 0)
        await until(lambda: not channel.open)

    stage(play)


def test_what_is_owed_is_written_before_anything_is_asked(stage: Callable[[Play], None]) -> None:
    """One debt is made while another is being paid."""

    async def play(channel: RedisClient, proxy: Proxy, redis: Redis) -> None:
        proxy.mute = True
        await channel.put(["first"], "ended", MINUTE_MS)
        assert channel.open
        proxy.mute = False
        proxy.delay_s = 0.02
        redis.delete("first")
        await until(lambda: redis.get("first"))
        assert channel.open, "the answer is still under way"
        await channel.put(["second"], "ended", MINUTE_MS)
        await until(lambda: not channel.open)
        assert (redis.get("first"), redis.get("second")) == (b"ended", b"ended")
        assert 0 < redis.pttl("second") <= MINUTE_MS

    stage(play)
