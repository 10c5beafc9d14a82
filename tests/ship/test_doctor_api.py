"""`finpay doctor` asks the running API, and finds the servers of `finpay dev` by itself."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from finpay.dev.child_process import free_port
from finpay.doctor import api
from finpay.doctor.checks import CheckResult
from finpay.settings import read
from tests.api_process import Api

_READY: Final = {"status": "ok", "checks": {"postgres": "ok", "redis": "ok", "integrity": "ok"}}
_HEALTH: Final = {"status": "ok", "version": version("finpay")}
_METRICS: Final = (
    '# TYPE finpay_processes gauge\nfinpay_processes{role="api"} 4.0\n'
    'finpay_processes{role="worker"} 1.0\n'
)
Responses = dict[str, tuple[int, Any]]


@contextmanager
def fake_api(**changed: tuple[int, Any]) -> Iterator[int]:
    """A server with the health responses of an API; some of them changed. Yields its port."""
    bodies: Responses = {"readyz": (200, _READY), "health": (200, _HEALTH)}
    bodies |= {"metrics": (200, _METRICS)} | changed

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = bodies[self.path.rpartition("/")[2]]
            self.send_response(status)
            self.end_headers()
            self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


async def check(port: int, *, expected: bool = False, **environ: str) -> dict[str, CheckResult]:
    results = await api.check(read({"PORT": str(port), **environ}), expected=expected)
    return {result.name: result for result in results}


async def test_healthy_api_has_no_findings() -> None:
    with fake_api() as port:
        results = await check(port)
    assert {result.state for result in results.values()} == {"ok"}
    assert list(results) == ["api", "api version", "api processes", "ledger"]
    assert results["api processes"].detail == "4 api, 1 worker"


_NO_POSTGRES: Final = {"status": "down", "checks": {"postgres": "down"}}
_DRAINING: Final = {"status": "down", "checks": {"postgres": "ok"}}
CASES = [
    # changed responses                            check           state      a word of the detail
    ({"readyz": (503, _NO_POSTGRES)}, "api", "failed", "postgres"),
    ({"readyz": (503, _DRAINING)}, "api", "failed", "shutting"),
    ({"readyz": (200, {"status": "warn", "checks": {"redis": "down"}})}, "api", "warning", "redis"),
    ({"readyz": (200, {"checks": {}})}, "ledger", "warning", "no worker"),
    ({"readyz": (200, {"checks": {"integrity": "failed"}})}, "ledger", "failed", "violations"),
    ({"readyz": (200, {"checks": {"integrity": "unknown"}})}, "ledger", "warning", "no worker"),
    ({"health": (200, {"version": "0.0.9"})}, "api version", "warning", "0.0.9"),
    ({"metrics": (404, "")}, "api processes", "ok", "FINPAY_METRICS_TOKEN"),
    ({"metrics": (200, "")}, "api processes", "ok", "not known"),
    ({"readyz": (404, "<html>")}, "api", "warning", "not a FinPay API"),
    ({"health": (200, [])}, "api", "warning", "not a FinPay API"),
    ({"readyz": (200, {})}, "api", "warning", "not a FinPay API"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "name", "state", "detail"), CASES)
async def test_finding_about_the_api(
    changed: Responses, name: str, state: str, detail: str
) -> None:
    with fake_api(**changed) as port:
        result = (await check(port))[name]
    assert (result.state, detail in result.detail) == (state, True), result
    assert bool(result.advice) is (state != "ok")


@pytest.mark.parametrize(("expected", "state"), [(False, "ok"), (True, "warning")])
async def test_api_that_is_not_running(*, expected: bool, state: str) -> None:
    results = await check(free_port(), expected=expected)
    assert [(result.name, result.state) for result in results.values()] == [("api", state)]


async def test_api_on_a_wildcard_host_is_checked_on_loopback() -> None:
    with fake_api() as port:
        assert (await check(port, HOST="0.0.0.0"))["api"].state == "ok"  # noqa: S104


async def test_real_api_is_checked(serve: Callable[..., Api]) -> None:
    running = serve(FINPAY_WORKERS="2", FINPAY_METRICS_TOKEN="token")
    port = int(running.url.rpartition(":")[2])
    async with asyncio.timeout(10):  # the first process is ready before the second
        results = await check(port, FINPAY_METRICS_TOKEN="token")
        while results["api processes"].detail != "2 api":
            await asyncio.sleep(0.1)
            results = await check(port, FINPAY_METRICS_TOKEN="token")
    assert (results["api"].state, results["api version"].state) == ("ok", "ok"), results
    assert "FINPAY_METRICS_TOKEN" in (await check(port))["api processes"].detail


def doctor(folder: Path, **environ: str) -> tuple[dict[str, str], str]:
    """The state of each check, and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "finpay", "doctor", "--json"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return {
        check["name"]: check["state"] for check in json.loads(done.stdout)["checks"]
    }, done.stderr


@pytest.mark.fault("O4")
def test_servers_of_a_running_dev_are_found(
    tmp_path: Path, serve: Callable[..., Api], database_url: str, redis_url: str
) -> None:
    running = serve()
    urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    (tmp_path / ".finpay").mkdir()
    (tmp_path / ".finpay/env").write_text("".join(f"{name}={url}\n" for name, url in urls.items()))
    port = running.url.rpartition(":")[2]
    found, said = doctor(tmp_path, PORT=port)
    assert ".finpay/env" in said
    loaded, said = doctor(tmp_path, PORT=port, **urls)
    assert said == ""
    assert found == loaded
    development = {"environment", "secret", "redis policy", "postgres", "redis", "api"}
    assert {found[name] for name in development} == {"ok"}, found


def test_without_a_running_dev_the_hint_says_how_to_start_it(tmp_path: Path) -> None:
    found, said = doctor(tmp_path, PORT=str(free_port()))
    assert found["environment"] == "warning"
    assert said == ""
    done = subprocess.run(
        [sys.executable, "-m", "finpay", "doctor"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]} | {"FINPAY_LOG_LEVELS": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "make dev" in done.stderr
