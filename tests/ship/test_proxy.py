"""deploy/caddy/Caddyfile: the proxy of docker compose in front of a real API."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest

from finpay.dev.child_process import free_port
from tests.api_process import Api

CADDYFILE: Final = Path(__file__).parents[2] / "deploy/caddy/Caddyfile"
_CADDY: Final = Path(sys.executable).with_name("caddy")
_START_LIMIT_S: Final = 15.0


@pytest.fixture
def api(serve: Callable[..., Api]) -> Api:
    return serve(FINPAY_TRUSTED_PROXIES="1", FINPAY_RATE_LIMIT_AUTH="3/900")


@pytest.fixture
def proxy(api: Api, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "FINPAY_SITE": f"http://127.0.0.1:{port}",
        "FINPAY_API_HOST": "127.0.0.1",
        "FINPAY_API_PORT": str(urlsplit(api.url).port),
    }
    with (tmp_path / "caddy.log").open("wb") as log:
        caddy = subprocess.Popen(
            [_CADDY, "run", "--adapter", "caddyfile", "--config", CADDYFILE],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        _await(f"http://127.0.0.1:{port}/livez")
        yield f"http://127.0.0.1:{port}"
    finally:
        caddy.terminate()
        caddy.wait(10)


def _await(url: str) -> None:
    until_s = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < until_s:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("the proxy does not answer")


def test_clients_can_not_choose_their_address(proxy: str) -> None:
    """Clients that forge X-Forwarded-For share the rate limit of their connection's address."""
    login = {"email": "nobody@example.com", "password": "not-the-password"}
    with httpx.Client(trust_env=False) as client:
        statuses = [
            client.post(
                f"{proxy}/api/v1/auth/login",
                json=login,
                headers={"X-Forwarded-For": f"198.51.100.{number}"},
            ).status_code
            for number in range(1, 6)
        ]
    assert statuses == [401, 401, 401, 429, 429]


def test_metrics_are_not_public(proxy: str, api: Api) -> None:
    assert httpx.get(f"{api.url}/metrics", trust_env=False).status_code == 200
    assert httpx.get(f"{proxy}/metrics", trust_env=False).status_code == 404


def test_an_unreachable_api_is_502_until_it_is_back(proxy: str, api: Api) -> None:
    api.stop()
    began_s = time.monotonic()
    assert httpx.get(f"{proxy}/livez", trust_env=False, timeout=10).status_code in {502, 503}
    assert time.monotonic() - began_s < 5
