"""What is published works without this checkout: the wheel, in an environment of its own."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from finpay.dev.child_process import free_port
from finpay.dev.data_dir import remove_data_dir

ROOT: Final = Path(__file__).parents[2]
_INSTALL_LIMIT_S: Final = 200.0
_START_LIMIT_S: Final = 60.0  # `dev` unpacks servers and makes a cluster
_UV: Final = ROOT / ".venv/uv/bin/uv"  # where .ci/bootstrap puts it


@dataclass(frozen=True, slots=True)
class Installed:
    """A virtual environment with nothing but the wheel and what it needs."""

    wheel: Path
    folder: Path

    @property
    def finpay(self) -> str:
        return str(self.folder / "bin/finpay")

    def run(self, *arguments: str, cwd: Path, **settings: str) -> str:
        done = subprocess.run(
            [self.finpay, *arguments],
            cwd=cwd,
            env=_environment(**settings),
            capture_output=True,
            text=True,
            timeout=_START_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, command: str, *, cwd: Path, **settings: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [self.finpay, command],
            cwd=cwd,
            env=_environment(**settings),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )


def _environment(**settings: str) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/"), **settings}


def _uv(*arguments: str | Path) -> None:
    program = str(_UV) if _UV.exists() else "uv"
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    done = subprocess.run(
        [program, *arguments],
        cwd=ROOT,
        env={**environment, "UV_SYSTEM_CERTS": "1"},
        capture_output=True,
        text=True,
        timeout=_INSTALL_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built by `uv build`, installed with the versions that uv.lock says."""
    folder = tmp_path_factory.mktemp("wheel")
    _uv("build", "--quiet", "--out-dir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").glob("finpay-*.whl")
    locked = folder / "locked.txt"
    _uv("export", "--quiet", "--frozen", "--no-dev", "--extra", "dev", "--no-emit-project",
        "--no-hashes", "--output-file", locked)  # fmt: skip
    python = sys._base_executable  # type: ignore[attr-defined]
    _uv("venv", "--quiet", "--python", python, folder / "venv")
    _uv("pip", "install", "--quiet", "--python", folder / "venv/bin/python",
        "--constraint", locked, f"finpay[dev] @ {wheel.as_uri()}")  # fmt: skip
    return Installed(wheel, folder / "venv")


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Path]:
    """A folder that has nothing to do with the checkout."""
    yield tmp_path
    home = tmp_path / ".finpay"
    if home.exists():
        remove_data_dir(home)


def test_the_wheel_has_all_that_is_not_python_too(installed: Installed) -> None:
    inside = set(zipfile.ZipFile(installed.wheel).namelist())
    for pattern in ("*.sql", "*.lua", "*.html", "*.css", "*.js", "py.typed"):
        for path in (ROOT / "src").rglob(pattern):
            assert path.relative_to(ROOT / "src").as_posix() in inside
    assert not [name for name in inside if not name.startswith(("finpay/", "finpay-"))]


def test_the_source_archive_holds_no_private_files(installed: Installed) -> None:
    (archive,) = installed.wheel.parent.glob("finpay-*.tar.gz")
    listed = subprocess.run(["tar", "tzf", archive], capture_output=True, text=True, check=True)
    names = listed.stdout.splitlines()
    assert not [name for name in names if "/.finpay/" in name or name.endswith("/.env")]


def test_migrate_doctor_worker_and_serve(
    installed: Installed, fresh_database: Callable[[], str], redis_url: str, away: Path
) -> None:
    settings = {
        "DATABASE_URL": fresh_database(),
        "REDIS_URL": redis_url,
        "PORT": str(free_port()),
        "HOST": "127.0.0.1",
        "FINPAY_WORKERS": "1",
    }
    assert "up to date" in installed.run("migrate", cwd=away, **settings)
    report = json.loads(installed.run("doctor", "--json", cwd=away, **settings))
    assert report["ok"]
    assert "0 delivered" in installed.run("worker", "--once", cwd=away, **settings)
    server = installed.start("serve", cwd=away, **settings)
    try:
        health = _await_health(f"http://127.0.0.1:{settings['PORT']}")
        assert health == {"postgres": "ok", "redis": "ok"}
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


def test_dev_from_nothing(installed: Installed, away: Path) -> None:
    port = free_port()
    dev = installed.start("dev", cwd=away, PORT=str(port))
    try:
        _await_health(f"http://127.0.0.1:{port}")
        page = httpx.get(f"http://127.0.0.1:{port}/docs", trust_env=False)
        assert page.status_code == 200
    finally:
        os.killpg(dev.pid, signal.SIGINT)
        assert dev.wait(30) == 0


def _await_health(url: str) -> dict[str, str]:
    until_s = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < until_s:
        try:
            answer = httpx.get(f"{url}/api/v1/health", trust_env=False, timeout=2)
        except httpx.HTTPError:
            time.sleep(0.05)
            continue
        if answer.status_code == 200:
            checks: dict[str, str] = answer.json()["checks"]
            return checks
    raise AssertionError(f"{url} is not healthy")
