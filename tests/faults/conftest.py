"""Servers that the tests of one module stop, kill and hang, and proxies before them."""

from collections.abc import Iterator

import pytest

from tests.servers import OwnPostgres, OwnValkey, Run
from tests.support.tcp_proxy import TcpProxy, proxy_before


@pytest.fixture(scope="module")
def postgres(run: Run, worker_id: str, request: pytest.FixtureRequest) -> Iterator[OwnPostgres]:
    server = OwnPostgres(run, f"{request.module.__name__}-postgres-{worker_id}", {})
    yield server
    server.resume()
    server.stop()


@pytest.fixture(scope="module")
def valkey(run: Run, worker_id: str, request: pytest.FixtureRequest) -> Iterator[OwnValkey]:
    server = OwnValkey(run, f"{request.module.__name__}-valkey-{worker_id}", {})
    yield server
    server.resume()
    server.stop()


@pytest.fixture(scope="module")
def postgres_proxy(postgres: OwnPostgres) -> Iterator[tuple[TcpProxy, str]]:
    """A proxy before `postgres`, and the URL that leads through it."""
    with proxy_before(postgres.url) as made:
        yield made


@pytest.fixture(scope="module")
def valkey_proxy(valkey: OwnValkey) -> Iterator[tuple[TcpProxy, str]]:
    """A proxy before `valkey`, and the URL that leads through it."""
    with proxy_before(valkey.url) as made:
        yield made


@pytest.fixture(scope="module")
def redis_proxy(redis_url: str) -> Iterator[tuple[TcpProxy, str]]:
    """A proxy before the Valkey of the fixture `api`, and the URL that leads through it."""
    with proxy_before(redis_url) as made:
        yield made
