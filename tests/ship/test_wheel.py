"""The wheel without this checkout: the client alone, and each extra, in its own environment."""

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
_OF_HTTPX: Final = ("anyio", "certifi", "h11", "httpcore", "httpx", "idna")
_UV: Final = ROOT / ".venv/uv/bin/uv"  # where .ci/bootstrap puts it


@dataclass(frozen=True, slots=True)
class Installed:
    """A virtual environment with the wheel, an extra and their dependencies."""

    wheel: Path
    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin/python")

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


def _python(installed: Installed, code: str) -> str:
    done = subprocess.run(
        [installed.python, "-I", "-c", code],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=_START_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by `uv build`, next to the source archive."""
    folder = tmp_path_factory.mktemp("wheel")
    _uv("build", "--quiet", "--out-dir", folder, ROOT)
    (built,) = folder.glob("finpay-*.whl")
    return built


def _install(wheel: Path, folder: Path, extras: str) -> Installed:
    """With the versions of uv.lock."""
    locked = folder / "locked.txt"
    _uv("export", "--quiet", "--frozen", "--no-dev", "--all-extras", "--no-emit-project",
        "--no-hashes", "--output-file", locked)  # fmt: skip
    python = sys._base_executable  # type: ignore[attr-defined]
    _uv("venv", "--quiet", "--python", python, folder / "venv")
    _uv("pip", "install", "--quiet", "--python", folder / "venv/bin/python",
        "--constraint", locked, f"finpay{extras} @ {wheel.as_uri()}")  # fmt: skip
    return Installed(wheel, folder / "venv")


@pytest.fixture(scope="module")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return _install(wheel, tmp_path_factory.mktemp("client"), "")


@pytest.fixture(scope="module")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return _install(wheel, tmp_path_factory.mktemp("server"), "[server]")


@pytest.fixture(scope="module")
def development(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return _install(wheel, tmp_path_factory.mktemp("development"), "[dev]")


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Path]:
    """A folder outside of the checkout."""
    yield tmp_path
    home = tmp_path / ".finpay"
    if home.exists():
        remove_data_dir(home)


def test_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for pattern in ("*.py", "*.sql", "*.lua", "*.html", "*.css", "*.js", "*.txt", "py.typed"):
        for path in (ROOT / "src").rglob(pattern):
            assert path.relative_to(ROOT / "src").as_posix() in inside
    assert not [name for name in inside if not name.startswith(("finpay/", "finpay-"))]
    assert not [name for name in inside if "torture" in name or "test" in name]


def test_source_archive_holds_no_private_files(wheel: Path) -> None:
    (archive,) = wheel.parent.glob("finpay-*.tar.gz")
    listed = subprocess.run(["tar", "tzf", archive], capture_output=True, text=True, check=True)
    names = listed.stdout.splitlines()
    assert not [name for name in names if "/.finpay/" in name or name.endswith("/.env")]


@pytest.mark.fault("S5")
def test_wheel_without_an_extra_depends_on_httpx_and_msgspec_alone(client: Installed) -> None:
    with zipfile.ZipFile(client.wheel) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = wheel.read(name).decode().splitlines()
    needed = [line for line in metadata if line.startswith("Requires-Dist: ")]
    always = {line.partition(">")[0].split()[1] for line in needed if "extra ==" not in line}
    assert always == {"httpx", "msgspec"}
    code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    installed = set(_python(client, code).split())
    assert installed - {"typing_extensions"} == {"finpay", "msgspec", *_OF_HTTPX}


@pytest.mark.fault("S5")
def test_import_of_the_client_loads_no_server_code(client: Installed) -> None:
    code = "import finpay.client.webhooks, sys; print(*sys.modules)"
    loaded = set(_python(client, code).split())
    own = {name for name in loaded if name.startswith("finpay.")}
    pure = {
        f"finpay.{name}"
        for name in (
            "errors", "error_codes", "error_specs", "ids", "money", "formats", "signing",
        )
    }  # fmt: skip
    assert not {name for name in own - pure if not name.startswith("finpay.client")}
    foreign = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    # The interpreter's own start loads hooks of the virtual environment.
    foreign = {name for name in foreign if not name.startswith(("_", "sitecustomize"))}
    assert foreign <= {"finpay", "msgspec", "typing_extensions", *_OF_HTTPX}


def test_client_alone_makes_keys_and_reports_an_unreachable_server(client: Installed) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code = f"""
import pickle
from finpay.client import FinPay, FinPayError
with FinPay({url!r}, max_retries=0) as finpay:
    try:
        finpay.send(receiver_email="bob@finpay.dev", amount=1)
    except FinPayError as error:
        copy = pickle.loads(pickle.dumps(error))
        print(copy.code, copy.sent, len(copy.idempotency_key))
"""
    assert _python(client, code) == "unavailable False 36\n"


@pytest.mark.parametrize("command", [["bin/finpay", "serve"], ["bin/python", "-m", "finpay"]])
def test_command_of_the_client_alone_says_what_to_install(
    client: Installed, command: list[str]
) -> None:
    done = subprocess.run(
        [client.folder / command[0], *command[1:]],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'finpay[server]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_extra_server_runs_migrate_doctor_worker_and_serve(
    server: Installed, fresh_database: Callable[[], str], redis_url: str, away: Path
) -> None:
    settings = {
        "DATABASE_URL": fresh_database(),
        "REDIS_URL": redis_url,
        "PORT": str(free_port()),
        "HOST": "127.0.0.1",
        "FINPAY_WORKERS": "1",
    }
    assert "up to date" in server.run("migrate", cwd=away, **settings)
    report = json.loads(server.run("doctor", "--json", cwd=away, **settings))
    assert report["ok"]
    assert "0 delivered" in server.run("worker", "--once", cwd=away, **settings)
    process = server.start("serve", cwd=away, **settings)
    try:
        health = _await_health(f"http://127.0.0.1:{settings['PORT']}")
        assert health == {"postgres": "ok", "redis": "ok"}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_extra_dev_runs_finpay_dev_in_an_empty_folder(development: Installed, away: Path) -> None:
    port = free_port()
    dev = development.start("dev", cwd=away, PORT=str(port))
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
