"""What tests ask of an API in trouble: always on a new connection, so any worker answers."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any, Final

import httpx
import jwt
import psutil

from finpay.db.pool import Database
from finpay.gate import redis_keys
from tests.api_process import Api, User, await_ready

RECOVERY_S: Final = 5.0
ASKED: Final = 8  # new connections that surely find both of two workers
_POLL_S: Final = 0.02


def ask(api: Api, path: str, token: str = "", *, limit_s: float = 10.0) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # No certificates: reading them would take longer than the request.
    with httpx.Client(verify=False, trust_env=False, timeout=limit_s) as client:  # noqa: S501
        return client.get(f"{api.url}{path}", headers=headers)


def connected(api: Api, limit_s: float = 10.0) -> socket.socket:
    """A bare connection, for what no client library would send."""
    port = int(api.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=limit_s)


def status_of(line: socket.socket) -> int:
    """Of the next answer on this connection, which is read whole."""
    answer = HTTPResponse(line)
    answer.begin()
    answer.read()
    return answer.status


def statuses(api: Api, token: str, path: str = "/api/v1/auth/me") -> set[int]:
    """What a token meets on each worker."""
    return {ask(api, path, token).status_code for _ in range(ASKED)}


def health(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = ask(api, "/api/v1/health").json()
    return found


def await_that(what: str, is_so: Callable[[], object], limit_s: float = RECOVERY_S) -> None:
    until = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < until, f"not within {limit_s} s: {what}"
        time.sleep(_POLL_S)


def await_redis(api: Api, state: str, limit_s: float = RECOVERY_S) -> None:
    """Until every worker says that Redis is "ok" or "down"."""

    def all_say_so() -> bool:
        return all(health(api)["checks"]["redis"] == state for _ in range(ASKED))

    await_that(f"Redis {state}", all_say_so, limit_s)


def await_new_workers(api: Api, number: int, *, but: set[int], limit_s: float = 15.0) -> None:
    """Until so many workers run that are none of `but`, and somebody listens."""

    def there() -> bool:
        return len({worker.pid for worker in workers(api)} - but) >= number

    await_that(f"{number} new workers", there, limit_s)
    await_ready(api)  # a door opens when its worker is ready


def workers(api: Api) -> list[psutil.Process]:
    """The worker processes that live; one that was killed may not have been buried yet."""
    found = []
    for child in psutil.Process(api.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


class Lock:
    """A row lock on one account, held until it is released."""

    def __init__(self, api: Api, user: User) -> None:
        self._api = api
        self._user = user
        self._held = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: api.owner(self._hold), daemon=True)
        self._thread.start()
        assert self._held.wait(RECOVERY_S)

    def await_waiter(self) -> None:
        """Until somebody wants the lock: their request is in flight."""
        query = (
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE NOT granted AND datname = current_database()"
        )
        await_that("somebody waits", lambda: self._api.sql(query)[0]["count"] > 0)

    def release(self) -> None:
        self._over.set()
        self._thread.join(RECOVERY_S)

    async def _hold(self, database: Database) -> None:
        async with database.transaction() as transaction:
            await transaction.execute(
                "SELECT FROM ledger.accounts WHERE public_id = $1 FOR UPDATE",
                self._user.account_id,
            )
            self._held.set()
            while not self._over.is_set():
                await asyncio.sleep(_POLL_S)


@contextlib.contextmanager
def locked(api: Api, user: User) -> Iterator[Lock]:
    """Transfers of this user wait inside the block, or until the lock is released: 3 s at most."""
    lock = Lock(api, user)
    try:
        yield lock
    finally:
        lock.release()


def marker_of(user: User, token: str) -> str:
    """The Redis key that says whether the token's session lives."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return redis_keys.session_marker(user.user_id, claims["sid"])


def truth(api: Api, user: User) -> int:
    """The balance that PostgreSQL has."""
    rows = api.sql("SELECT balance FROM ledger.accounts WHERE public_id = $1", user.account_id)
    return int(rows[0]["balance"])
