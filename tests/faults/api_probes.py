"""Requests to an API during a fault, each on a new connection, so that any worker answers."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any, Final

import httpx
import jwt
import psutil

from finpay.db.pool import Database
from finpay.gate import redis_keys
from tests.api_process import Api, User, await_ready
from tests.support.tcp_proxy import port_of
from tests.support.waiting import wait_until

RECOVERY_S: Final = 5.0
ASKED: Final = 16  # new connections that reach both of two workers
_POLL_S: Final = 0.02


def ask(api: Api, path: str, token: str = "", *, limit_s: float = 10.0) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # Without certificates: reading them takes longer than the request.
    with httpx.Client(verify=False, trust_env=False, timeout=limit_s) as client:  # noqa: S501
        return client.get(f"{api.url}{path}", headers=headers)


def connected(api: Api, limit_s: float = 10.0) -> socket.socket:
    """A plain socket, for bytes that no client library sends."""
    return socket.create_connection(("127.0.0.1", port_of(api.url)), timeout=limit_s)


def status_of(connection: socket.socket) -> int:
    """The status of the next answer on this connection, read to its end."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def statuses(api: Api, token: str, path: str = "/api/v1/auth/me") -> set[int]:
    """The answers of the workers to a GET with the token."""
    return {ask(api, path, token).status_code for _ in range(ASKED)}


def health(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = ask(api, "/api/v1/health").json()
    return found


def await_that(what: str, is_so: Callable[[], object], limit_s: float = RECOVERY_S) -> None:
    wait_until(is_so, limit_s, what)


def await_redis(api: Api, state: str, limit_s: float = RECOVERY_S) -> None:
    """Until every worker reports Redis as "ok" or "down"."""

    def all_report_it() -> bool:
        return all(health(api)["checks"]["redis"] == state for _ in range(ASKED))

    await_that(f"Redis {state}", all_report_it, limit_s)


def await_new_workers(api: Api, number: int, *, but: set[int], limit_s: float = 15.0) -> None:
    """Until that many workers run whose pids are not in `but`, and the API is ready."""

    def replaced() -> bool:
        return len({worker.pid for worker in workers(api)} - but) >= number

    await_that(f"{number} new workers", replaced, limit_s)
    await_ready(api)  # a worker listens when it is ready


def workers(api: Api) -> list[psutil.Process]:
    """The worker processes, including one that was killed and not yet reaped."""
    return api.workers()


class Lock:
    """A row lock on one account, held until it is released."""

    def __init__(self, api: Api, user: User) -> None:
        self._api = api
        self._user = user
        self._locked = threading.Event()
        self._released = threading.Event()
        self._thread = threading.Thread(target=lambda: api.owner(self._hold), daemon=True)
        self._thread.start()
        assert self._locked.wait(RECOVERY_S)

    def await_waiter(self) -> None:
        """Until a session waits for the lock: a request is in flight."""
        query = (
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE NOT granted AND datname = current_database()"
        )
        await_that("a session waits", lambda: self._api.sql(query)[0]["count"] > 0)

    def release(self) -> None:
        self._released.set()
        self._thread.join(RECOVERY_S)

    async def _hold(self, database: Database) -> None:
        async with database.transaction() as transaction:
            await transaction.execute(
                "SELECT FROM ledger.accounts WHERE public_id = $1 FOR UPDATE",
                self._user.account_id,
            )
            self._locked.set()
            while not self._released.is_set():
                await asyncio.sleep(_POLL_S)


@contextlib.contextmanager
def locked(api: Api, user: User) -> Iterator[Lock]:
    """Transfers of this user wait until the lock is released or the block ends: 3 s at most."""
    lock = Lock(api, user)
    try:
        yield lock
    finally:
        lock.release()


def marker_of(user: User, token: str) -> str:
    """The Redis key of the state of the token's session."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return redis_keys.session_marker(user.user_id, claims["sid"])


def stored_balance(api: Api, user: User) -> int:
    """The balance in PostgreSQL."""
    rows = api.sql("SELECT balance FROM ledger.accounts WHERE public_id = $1", user.account_id)
    return int(rows[0]["balance"])
