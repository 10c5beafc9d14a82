"""`finpay dev`: PostgreSQL, Valkey, seed data, API and worker, in one command.

Ctrl-C stops everything; the data stays in `.finpay/` for the next start. Servers named by the
environment are used and left running.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from finpay.db.migrate import MigrationError
from finpay.dev import banner
from finpay.dev.child_process import DevError, free_port, port_is_free
from finpay.dev.data_dir import create_home, open_data_dir
from finpay.dev.postgres import Postgres
from finpay.dev.seed import seed
from finpay.dev.stack import ServerUrls, Stack
from finpay.dev.valkey import Valkey
from finpay.settings import Settings

_LOOPBACK: Final = "127.0.0.0/8,::1/128"
_POLL_S: Final = 0.2  # delay until a server's exit or a warning is shown
_FORGET: Final = (
    "finpay dev uses the server that DATABASE_URL names. If this shell has loaded .finpay/env of a "
    "finpay dev that was stopped, forget its servers: "
    "unset DATABASE_URL FINPAY_DATABASE_OWNER_URL FINPAY_DATABASE_OPERATOR_URL REDIS_URL"
)
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(settings: Settings, environ: Mapping[str, str], home: Path) -> int:
    """Run everything until Ctrl-C or SIGTERM (0), or until a server exits by itself (1).

    `home` is the folder `.finpay`. DevError and MigrationError when it can't start.
    """
    started_s = time.monotonic()
    with _signals_interrupt(), ExitStack() as cleanup:
        try:
            _lock(home, cleanup)
            stack = cleanup.enter_context(_new_stack(settings, environ, home))
            port = _free_port(settings)
            _start_databases(stack)
            users = asyncio.run(seed(stack.urls.owner))
            environment = _environment(settings, environ, home)
            banner.say("Starting the API and the worker …")
            stack.start_worker(environment)
            api = stack.start_api({**environment, "HOST": settings.host, "PORT": str(port)})
            api.await_ready(api.is_ready)
            _write_files(home, stack.urls, api.url, cleanup)
            banner.show(api.url, users, stack, took_s=time.monotonic() - started_s)
            return _watch(stack)
        except KeyboardInterrupt:
            banner.say("Stopping …")
            return 0
        finally:
            # Each server stops within its own limit: one Ctrl-C is enough.
            for number in _STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal raise KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lock(home: Path, cleanup: ExitStack) -> None:
    """One `finpay dev` per folder. The lock ends with the process, also after SIGKILL."""
    create_home(home)
    file = cleanup.enter_context((home / "lock").open("a+"))
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


def _new_stack(settings: Settings, environ: Mapping[str, str], home: Path) -> Stack:
    """With its own PostgreSQL and Valkey, unless the environment names others."""
    if environ.get("FINPAY_DATABASE_OWNER_URL") and not environ.get("DATABASE_URL"):
        raise DevError("FINPAY_DATABASE_OWNER_URL is set, but not DATABASE_URL: set both, or none")
    data_dir = open_data_dir(home)
    postgres = None if environ.get("DATABASE_URL") else Postgres(data_dir)
    valkey = None if environ.get("REDIS_URL") else Valkey(data_dir)
    urls = ServerUrls(
        settings.database_url, settings.owner_url, settings.redis_url, settings.operator_url or ""
    )
    return Stack(home, urls, postgres=postgres, valkey=valkey, progress=banner.say)


def _start_databases(stack: Stack) -> None:
    """DevError, with the way out, where the environment names a PostgreSQL that is gone."""
    try:
        stack.start_databases()
    except MigrationError as error:
        if stack.postgres is not None or not isinstance(error.__cause__, OSError):
            raise
        raise DevError(f"{error}. {_FORGET}") from None


def _free_port(settings: Settings) -> int:
    port = settings.port or free_port()
    if not port_is_free(port, settings.host):
        raise DevError(f"port {port} is taken by another program; set PORT to a free one")
    return port


def _write_files(home: Path, urls: ServerUrls, api_url: str, cleanup: ExitStack) -> None:
    """`env` for shells and `url` for `finpay webhooks trigger`, while the stack runs."""
    servers = {
        "DATABASE_URL": urls.database,
        "FINPAY_DATABASE_OWNER_URL": urls.owner,
        "FINPAY_DATABASE_OPERATOR_URL": urls.operator,
        "REDIS_URL": urls.redis,
    }
    env = "".join(f"{name}={url}\n" for name, url in servers.items() if url)
    for name, text in (("env", env), ("url", f"{api_url}\n")):
        path = home / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        cleanup.callback(path.unlink, missing_ok=True)
        path.write_text(text)


def _environment(settings: Settings, environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """For the API and the worker, which share a folder of counters: /metrics has those of both.

    In development webhooks may go to loopback, unless the environment allows other networks.
    """
    counters = home.absolute() / "metrics"
    shutil.rmtree(counters, ignore_errors=True)  # of the last run
    counters.mkdir()
    environment = {**environ, "PROMETHEUS_MULTIPROC_DIR": str(counters)}
    if not settings.production and not environ.get("FINPAY_WEBHOOK_ALLOWED_CIDRS"):
        environment["FINPAY_WEBHOOK_ALLOWED_CIDRS"] = _LOOPBACK
    return environment


def _watch(stack: Stack) -> int:
    """Show the services' warnings until a server exits (1). KeyboardInterrupt ends it."""
    with ExitStack() as opened:
        logs = [
            opened.enter_context(service.log.open(errors="replace")) for service in stack.services
        ]
        while True:
            for lines in logs:
                banner.show_warnings(lines)
            for server in stack.servers:
                if not server.running:
                    banner.warn(f"{server.name} ended by itself: {server.log_tail()}")
                    banner.warn(f"Its log is {server.log}. Stopping the rest.")
                    return 1
            time.sleep(_POLL_S)
