"""The application under other ASGI servers: uvicorn without our protocol, Hypercorn and Granian."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from finpay.dev.child_process import free_port
from tests.api_process import PASSWORD, Api
from tests.support.environment import LIMITS_OFF, clean_environment
from tests.support.waiting import wait_until

FACTORY: Final = "finpay.app.api:create_application"
SERVERS: Final = {
    "uvicorn": ["--factory", FACTORY, "--host", "127.0.0.1", "--port", "{port}"],
    "hypercorn": [f"{FACTORY}()", "--bind", "127.0.0.1:{port}"],
    "granian": ["--interface", "asgi", "--factory", FACTORY, "--host", "127.0.0.1", "--port",
                "{port}"],
}  # fmt: skip
START_LIMIT_S: Final = 30.0
STOP_LIMIT_S: Final = 30.0


@pytest.fixture(params=SERVERS)
def hosted(
    request: pytest.FixtureRequest, database_url: str, redis_url: str, tmp_path: Path
) -> Iterator[str]:
    """Its URL. Stopped with SIGTERM, as a platform does it."""
    port = free_port()
    arguments = [each.format(port=port) for each in SERVERS[request.param]]
    urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name(request.param), *arguments],
            env=clean_environment(**LIMITS_OFF, **urls, FINPAY_WORKERS="1"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_ready(url, process), START_LIMIT_S, request.param)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_LIMIT_S)


def is_ready(url: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "it has exited"
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_money_moves_under_another_asgi_server(hosted: str, api: Api) -> None:
    alice = api.user(1_000)
    with httpx.Client(base_url=f"{hosted}/api/v1", trust_env=False, timeout=30) as client:
        name = f"hosted-{hosted.rpartition(':')[2]}"
        login = {"email": f"{name}@example.com", "password": PASSWORD}
        registered = client.post("/auth/register", json=login)
        assert registered.status_code == 201
        order = {"receiver_id": registered.json()["account"]["id"], "amount": 5}
        refused = client.post("/transactions", json=order)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
        headers = {"Authorization": f"Bearer {alice.token}", "X-Idempotency-Key": name}
        sent = client.post("/transactions", json=order, headers=headers)
        chunks = iter([sent.request.content[:9], sent.request.content[9:]])
        json_type = {"Content-Type": "application/json"}
        repeated = client.post("/transactions", content=chunks, headers=headers | json_type)
        assert (sent.status_code, repeated.status_code) == (201, 201)
        assert repeated.content == sent.content
        assert repeated.headers["Idempotent-Replayed"] == "true"
        too_large = client.post("/transactions", content=b" " * 70_000, headers=headers | json_type)
        assert too_large.status_code == 413
        assert client.head("/accounts", headers=headers).content == b""
        assert client.get("/accounts", headers=headers).json()["balance"] == 995
    assert alice.balance == 995
