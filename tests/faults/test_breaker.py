"""The circuit breaker before Redis opens for every kind of failure, and closes again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest
import uvloop
from redis import Redis
from redis.asyncio.connection import AbstractConnection

from finpay import settings
from finpay.db.data_state import DataState
from finpay.gate.gate import _script_constants
from finpay.gate.redis_client import RedisClient, RedisUnavailable
from tests.servers import OwnValkey
from tests.support.tcp_proxy import TcpProxy, proxy_before

LIMIT_S: Final = 5.0
MINUTE_MS: Final = 60_000

Scenario = Callable[[RedisClient, TcpProxy, "Redis"], Coroutine[Any, Any, None]]


@pytest.fixture
def run_scenario(own_valkey: Callable[..., OwnValkey]) -> Callable[[Scenario], None]:
    """Runs a scenario with a client, the proxy before it, and another client without the proxy.

    In uvloop, as the service does: it raises other errors than asyncio.
    """
    valkey = own_valkey()

    def run(scenario: Scenario) -> None:
        with proxy_before(valkey.url) as (proxy, url), Redis.from_url(valkey.url) as redis:

            async def main() -> None:
                channel = RedisClient(url, _script_constants(settings.read()))
                await channel.start()
                channel.data = DataState("history", 1)
                assert not channel.is_open
                try:
                    await scenario(channel, proxy, redis)
                finally:  # uvloop does not stop before its connections
                    await channel.close()

            uvloop.run(main())

    return run


async def until(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not is_so():
            await asyncio.sleep(0.005)


def test_unexpected_error_while_connecting_counts_as_unavailable(
    run_scenario: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uvloop raises RuntimeError for a connection that is reset while it is opened."""

    async def closed(*_: object, **__: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    async def scenario(client: RedisClient, proxy: TcpProxy, redis: Redis) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(client._redis, "script_load", closed)
            redis.client_kill_filter(_type="normal", skipme=True)
            await client.ping()
            await until(lambda: client.is_open)
            with pytest.raises(RedisUnavailable):
                await client.call("admit_anonymous", ["key"], [1, MINUTE_MS, 1])
            assert not await client._probe(), "and the next attempt fails too"
        await until(lambda: not client.is_open)

    run_scenario(scenario)


@pytest.mark.contract("3.1.1")
def test_unexpected_error_while_sending_counts_as_unavailable(
    run_scenario: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uvloop raises RuntimeError for a connection that is reset just before it is written to."""

    async def closed(*_: object, **__: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    async def scenario(client: RedisClient, proxy: TcpProxy, redis: Redis) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(AbstractConnection, "send_packed_command", closed)
            with pytest.raises(RedisUnavailable):
                await client.call("admit_anonymous", ["key"], [1, MINUTE_MS, 1])
            assert client.is_open
        await until(lambda: not client.is_open)

    run_scenario(scenario)


def test_breaker_opens_for_a_server_that_refuses_writes(
    run_scenario: Callable[[Scenario], None],
) -> None:

    async def scenario(client: RedisClient, proxy: TcpProxy, redis: Redis) -> None:
        redis.config_set("maxmemory", 1)
        await client.ping()
        assert client.is_open
        redis.config_set("maxmemory", 0)
        await until(lambda: not client.is_open)

    run_scenario(scenario)


def test_deferred_writes_come_before_other_calls(run_scenario: Callable[[Scenario], None]) -> None:
    """A write is deferred while another one is flushed."""

    async def scenario(client: RedisClient, proxy: TcpProxy, redis: Redis) -> None:
        proxy.drop_responses = True
        await client.set_durably(["first"], "revoked", MINUTE_MS)
        assert client.is_open
        proxy.drop_responses = False
        proxy.response_delay_s = 0.02
        redis.delete("first")
        await until(lambda: redis.get("first"))
        assert client.is_open, "the response has not arrived yet"
        await client.set_durably(["second"], "revoked", MINUTE_MS)
        await until(lambda: not client.is_open)
        assert (redis.get("first"), redis.get("second")) == (b"revoked", b"revoked")
        assert 0 < redis.pttl("second") <= MINUTE_MS

    run_scenario(scenario)
