"""`finpay dev`: from nothing to a payment API that answers, in one command.

PostgreSQL, Valkey, migrations, seed data, then `finpay serve` and `finpay worker` as children, as
they would run anywhere else. Ctrl-C takes it all down in reverse; the data stays in `.finpay/` for
the next time.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.request import ProxyHandler, build_opener

from finpay.db import migrate
from finpay.dev import banner
from finpay.dev.child_process import Child, DevError, free_port, port_is_free, start
from finpay.dev.data_dir import create_home, open_data_dir
from finpay.dev.postgres import Postgres, start_postgres
from finpay.dev.seed import seed
from finpay.dev.valkey import start_valkey
from finpay.settings import Settings

DATABASE: Final = "finpay"
_LOOPBACK: Final = "127.0.0.0/8,::1/128"
_POLL_S: Final = 0.2  # how soon a child's death or a warning is seen
_READY_TIMEOUT_S: Final = 1.0  # /readyz never waits; slower than this is not ready
_DRAIN_LIMIT_S: Final = 30.0  # longer than `serve` gives requests that are being answered
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the API finds its servers, and those of them that we started."""

    database_url: str
    owner_url: str
    redis_url: str
    children: tuple[Child, ...]

    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "FINPAY_DATABASE_OWNER_URL": self.owner_url,
            "REDIS_URL": self.redis_url,
        }


def up(settings: Settings, environ: Mapping[str, str], home: Path) -> int:
    """Start everything and stay until Ctrl-C or SIGTERM (0), or until a child dies (1).

    `home` is the folder `.finpay`. DevError and MigrationError when it can't start.
    """
    began = time.monotonic()
    with _any_end_is_an_interrupt(), ExitStack() as running:
        try:
            _lock(home, running)
            port = _port(settings)
            servers = _start_servers(settings, environ, home, running)
            asyncio.run(seed(servers.owner_url))
            _write_env(home / "env", servers, running)
            ours = _environment(settings, environ, servers, running)
            worker = _work(ours, home / "worker.log")
            running.callback(worker.stop)
            api = _serve(settings, port, ours, home / "serve.log")
            running.callback(api.stop)
            url = _url(settings.host, port)
            api.await_ready(lambda: _ready(url))
            banner.show(url, took_s=time.monotonic() - began, log=api.log)
            return _stay([*servers.children, api, worker], (api.log, worker.log))
        except KeyboardInterrupt:
            banner.say("Stopping …")
            return 0
        finally:
            # Each part stops within a limit of its own, in good order: one Ctrl-C is enough.
            for number in _STOPPING:
                signal.signal(number, signal.SIG_IGN)


@contextmanager
def _any_end_is_an_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal end us as Ctrl-C does."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lock(home: Path, running: ExitStack) -> None:
    """One at a time per folder. The lock goes with the process, however it ends."""
    create_home(home)
    file = running.enter_context((home / "lock").open("a+"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise DevError(
            f"finpay dev already runs in this folder (process {file.read().strip()})"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def _port(settings: Settings) -> int:
    port = settings.port or free_port()
    if not port_is_free(port, settings.host):
        raise DevError(f"port {port} is taken by another program; set PORT to a free one")
    return port


def _start_servers(
    settings: Settings, environ: Mapping[str, str], home: Path, running: ExitStack
) -> Servers:
    """Start what the environment doesn't name, and bring the database into shape.

    What was started stops when `running` ends.
    """
    if environ.get("FINPAY_DATABASE_OWNER_URL") and not environ.get("DATABASE_URL"):
        raise DevError("FINPAY_DATABASE_OWNER_URL is set, but not DATABASE_URL: set both, or none")
    place = open_data_dir(home)
    database_url, owner_url = settings.database_url, settings.owner_url
    redis_url = settings.redis_url
    children: list[Child] = []
    if environ.get("DATABASE_URL"):
        _migrate(owner_url)
    else:
        postgres = start_postgres(place)
        running.callback(postgres.stop)
        children.append(postgres.child)
        database_url, owner_url = _shaped(postgres)
    if not environ.get("REDIS_URL"):
        valkey = start_valkey(place)
        running.callback(valkey.stop)
        children.append(valkey.child)
        redis_url = valkey.url
    return Servers(database_url, owner_url, redis_url, tuple(children))


def _shaped(postgres: Postgres) -> tuple[str, str]:
    """Migrated; the app's URL and the owner's. The app has no right that production lacks."""
    postgres.ensure_database(DATABASE)
    owner_url = postgres.url(DATABASE)
    _migrate(owner_url)
    postgres.sql("ALTER ROLE finpay_app LOGIN")
    return postgres.url(DATABASE, "finpay_app"), owner_url


def _migrate(owner_url: str) -> None:
    asyncio.run(migrate.prepare(owner_url))
    migrate.apply(owner_url)


def _write_env(path: Path, servers: Servers, running: ExitStack) -> None:
    """For tools and tests: where the servers are, as long as they run."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={url}\n" for name, url in servers.environment().items()))
    running.callback(path.unlink, missing_ok=True)


def _environment(
    settings: Settings, environ: Mapping[str, str], servers: Servers, running: ExitStack
) -> dict[str, str]:
    """For the API and the worker, whose counters meet in one folder: /metrics has them all.

    Receivers of webhooks are on this machine too, so loopback is open unless somebody says more.
    """
    folder = tempfile.mkdtemp(prefix="finpay-dev-")
    running.callback(shutil.rmtree, folder, ignore_errors=True)
    ours = {**environ, **servers.environment(), "PROMETHEUS_MULTIPROC_DIR": folder}
    if not settings.production and not ours.get("FINPAY_WEBHOOK_ALLOWED_CIDRS"):
        ours["FINPAY_WEBHOOK_ALLOWED_CIDRS"] = _LOOPBACK
    return ours


def _work(environ: dict[str, str], log: Path) -> Child:
    return start(
        "The worker",
        [sys.executable, "-m", "finpay", "worker"],
        log=log,
        stop_signal=signal.SIGTERM,
        env=environ,
        cwd=Path.cwd(),
        stop_limit_s=_DRAIN_LIMIT_S,
    )


def _serve(settings: Settings, port: int, environ: dict[str, str], log: Path) -> Child:
    return start(
        "The API",
        [sys.executable, "-m", "finpay", "serve"],
        log=log,
        stop_signal=signal.SIGTERM,
        env={**environ, "PORT": str(port), "HOST": settings.host},
        cwd=Path.cwd(),
        stop_limit_s=_DRAIN_LIMIT_S,
    )


def _ready(url: str) -> bool:
    direct = build_opener(ProxyHandler({}))  # whatever http_proxy says: this is our own child
    try:
        with direct.open(f"{url}/readyz", timeout=_READY_TIMEOUT_S) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, HTTPException):  # a refusal (503) is an OSError too
        return False


def _url(host: str, port: int) -> str:
    """All addresses are a place to listen, not one to connect to."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _stay(children: list[Child], logs: Sequence[Path]) -> int:
    """Show the warnings in the logs until a child dies. Left by KeyboardInterrupt otherwise."""
    with ExitStack() as opened:
        files = [opened.enter_context(log.open(errors="replace")) for log in logs]
        while True:
            for lines in files:
                banner.show_warnings(lines)
            for child in children:
                if not child.running:
                    banner.warn(f"{child.name} ended by itself: {child.last_words()}")
                    banner.warn(f"Its log is {child.log}. Stopping the rest.")
                    return 1
            time.sleep(_POLL_S)
