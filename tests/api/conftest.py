"""An API with rate limits, CORS, proxies and metrics token, as in production."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

import httpx
import pytest
from redis import Redis

from finpay.client import FinPay
from finpay.dev.seed import seed
from tests.api_process import PASSWORD, Api, User, running_api
from tests.servers import Run

ORIGIN: Final = "https://shop.example"
METRICS_TOKEN: Final = "a-token-for-prometheus"

_NUMBERS: Final = count(1)


@dataclass
class Strict:
    """An API of two processes behind one proxy, with limits, CORS and its own Valkey.

    Tokens of `made_by`, an API without limits, are valid here too: both have one secret and one
    database.
    """

    api: Api
    made_by: Api
    redis: Redis

    def user(self, balance: int = 0) -> User:
        """A new user who has used no limit."""
        return self.logged_in_here(self.made_by.user(balance))

    def logged_in_here(self, user: User) -> User:
        """The same login, with a client of this API."""
        held = user.client
        client = self.api.client(access_token=held.access_token, refresh_token=held.refresh_token)
        return replace(user, client=client)

    def another_login(self, user: User) -> User:
        """A second session of the same user."""
        client = self.made_by.client()
        client.login(user.email, PASSWORD)
        return self.logged_in_here(replace(user, client=client))

    def anonymous_client(self) -> FinPay:
        return self.api.client()

    def from_address(self, address: str) -> Callable[..., Any]:
        """Posts a body without a token, from this address according to the proxy."""
        client = self.anonymous_client()

        def post(path: str, **body: object) -> Any:
            return client.request(
                "POST", f"/api/v1{path}", json=body, headers={"X-Forwarded-For": address}
            )

        return post

    def page(self, path: str, address: str) -> Any:
        """Reads a page without a token, from this address according to the proxy."""
        return self.anonymous_client().request("GET", path, headers={"X-Forwarded-For": address})


@pytest.fixture(scope="session")
def strict(
    api: Api,
    run: Run,
    worker_id: str,
    database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Strict]:
    valkey = run.start_valkey(f"strict-valkey-{worker_id}")
    settings = {
        "FINPAY_WORKERS": "2",
        "FINPAY_RATE_LIMIT_GLOBAL": "100/900",
        "FINPAY_RATE_LIMIT_AUTH": "4/600",
        "FINPAY_RATE_LIMIT_TRANSACTION": "20/60",
        "FINPAY_TRUSTED_PROXIES": "1",
        "FINPAY_CORS_ORIGINS": f"{ORIGIN}, https://other.example",
        "FINPAY_METRICS_TOKEN": METRICS_TOKEN,
    }
    folder = tmp_path_factory.mktemp("strict")
    try:
        with (
            running_api(folder, database_url, valkey.url, **settings) as running,
            Redis.from_url(valkey.url) as redis,
        ):
            yield Strict(running, api, redis)
    finally:
        valkey.stop()


@pytest.fixture
def address() -> str:
    """A client address without earlier requests, from the range of benchmarks (RFC 2544)."""
    number = next(_NUMBERS)
    return f"198.18.{number // 250}.{number % 250 + 1}"


@pytest.fixture(scope="session")
def pair(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """One API of two processes for tests of concurrent money."""
    folder = tmp_path_factory.mktemp("pair")
    with running_api(folder, database_url, redis_url, FINPAY_WORKERS="2") as api:
        yield api


@pytest.fixture
def sound(pair: Api) -> Iterator[None]:
    """Checks after every test: no deadlock, no retried batch, and `ledger verify` is ok."""
    before = troubles(pair)
    yield
    assert troubles(pair) == before
    pair.verify()


def troubles(api: Api) -> tuple[int, list[str]]:
    deadlocks = api.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    metrics = httpx.get(f"{api.url}/metrics", trust_env=False).text.splitlines()
    retries = [line for line in metrics if line.startswith("finpay_ledger_batch_retries_total")]
    return int(deadlocks[0]["deadlocks"]), retries


@pytest.fixture
def seeded(serve: Callable[..., Api], fresh_database: Callable[[], str]) -> Api:
    """An API with the seed accounts."""
    url = fresh_database()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, seed(url)).result()
    return serve(DATABASE_URL=url)


@pytest.fixture
def valkey(redis_url: str) -> Iterator[Redis]:
    """The Valkey of `api`."""
    with Redis.from_url(redis_url) as connection:
        yield connection
