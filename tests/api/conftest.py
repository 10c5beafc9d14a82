"""An API with everything on that `api` has off, for tests of what users meet in production."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

import pytest
from redis import Redis

from finpay.client import FinPay
from tests.api_process import PASSWORD, Api, User, running_api
from tests.servers import Run

ORIGIN: Final = "https://shop.example"
METRICS_TOKEN: Final = "a-token-for-prometheus"

_NUMBERS: Final = count(1)


@dataclass
class Strict:
    """Two processes behind one proxy, with limits, CORS and a Valkey of their own.

    Tokens of `made_by`, which has no limits, are good here too: both know one secret and one
    database.
    """

    api: Api
    made_by: Api
    redis: Redis

    def user(self, balance: int = 0) -> User:
        """A new user whose limits are untouched."""
        return self.seen_here(self.made_by.user(balance))

    def seen_here(self, user: User) -> User:
        """The same login, asking here."""
        held = user.client
        client = self.api.client(access_token=held.access_token, refresh_token=held.refresh_token)
        return replace(user, client=client)

    def another_login(self, user: User) -> User:
        """A second session of the same user."""
        client = self.made_by.client()
        client.login(user.email, PASSWORD)
        return self.seen_here(replace(user, client=client))

    def stranger(self) -> FinPay:
        return self.api.client()

    def from_address(self, address: str) -> Callable[..., Any]:
        """Posts a body without a token, from this address as the proxy tells it."""
        client = self.stranger()

        def post(path: str, **body: object) -> Any:
            return client.request(
                "POST", f"/api/v1{path}", json=body, headers={"X-Forwarded-For": address}
            )

        return post

    def page(self, path: str, address: str) -> Any:
        """Reads a page without a token, from this address as the proxy states it."""
        return self.stranger().request("GET", path, headers={"X-Forwarded-For": address})


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
    """Where nobody asked from before; from the range that no network uses (RFC 2544)."""
    number = next(_NUMBERS)
    return f"198.18.{number // 250}.{number % 250 + 1}"
