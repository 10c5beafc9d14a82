"""The production API for tests: `finpay serve` in its own processes, over real HTTP."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from signal import SIGKILL
from subprocess import Popen
from typing import Any, Final, TypeVar
from uuid import UUID

import httpx
import psutil

from finpay import ids
from finpay.client import FinPay
from finpay.db.pool import Database
from finpay.dev.child_process import DevError
from finpay.dev.stack import Api as ApiProcess
from finpay.dev.stack import ServerUrls, Stack
from finpay.ledger import administration, verify
from tests.support.environment import LIMITS_OFF, clean_environment
from tests.support.processes import api_workers, signal_tree

PASSWORD: Final = "correct horse battery"
PUBLIC_URL: Final = "https://pay.example"
READY_LIMIT_S: Final = 20.0

Answer = TypeVar("Answer")
_NUMBERS: Final = count(1)


@dataclass
class User:
    """A logged-in user, with a client that never retries."""

    client: FinPay
    email: str
    user_id: str
    account_id: str

    @property
    def uuid(self) -> UUID:
        return ids.decode("usr", self.user_id)

    @property
    def token(self) -> str:
        assert self.client.access_token is not None
        return self.client.access_token

    def send(self, receiver: "User", amount: int, key: str, **more: Any) -> Any:
        """The raw answer to a transfer."""
        body = {"receiver_id": receiver.account_id, "amount": amount, **more}
        return self.client.request(
            "POST", "/api/v1/transactions", json=body, headers={"X-Idempotency-Key": key}
        )

    def post(self, path: str, key: str | None = None, **body: Any) -> Any:
        """The raw answer of a POST with members; without any it has no body."""
        headers = {} if key is None else {"X-Idempotency-Key": key}
        return self.client.request("POST", f"/api/v1{path}", json=body or None, headers=headers)

    def get(self, path: str, **params: Any) -> Any:
        return self.client.request("GET", f"/api/v1{path}", params=params or None)

    @property
    def balance(self) -> int:
        return int(self.get("/accounts").json()["balance"])


@dataclass
class Api:
    """One `finpay serve`. `url` is where clients reach it: directly, or through a proxy."""

    url: str
    database_url: str
    server: ApiProcess
    connections: list[httpx.Client] = field(default_factory=list)

    @property
    def process(self) -> "Popen[bytes]":
        """The supervisor of its worker processes."""
        return self.server.process

    @property
    def log(self) -> Path:
        return self.server.log

    def client(self, **options: Any) -> FinPay:
        """A client that is not logged in. `stop` closes its connections."""
        # Nothing is encrypted on loopback, and reading the system's certificates takes 70 ms.
        limits = httpx.Limits(max_connections=200)
        http = httpx.Client(trust_env=False, verify=False, timeout=30, limits=limits)  # noqa: S501
        self.connections.append(http)
        return FinPay(self.url, http=http, **{"max_retries": 0, **options})

    def user(self, balance: int = 0, *, currency: str = "ZAR", name: str | None = None) -> User:
        """A new user, logged in, with `balance` from the system account."""
        number = next(_NUMBERS)
        email = f"user{number}-{os.getpid()}@example.com"
        client = self.client()
        login = client.register(email, PASSWORD, name=name, currency=currency)
        made = User(client, email, login.user.id, login.account.id)
        if balance:
            self.fund(made, balance)
        return made

    def fund(self, user: User, amount: int) -> None:
        key = f"fund-{next(_NUMBERS)}-{os.getpid()}"
        self.owner(lambda database: administration.fund(database, user.account_id, amount, key))

    def set_status(self, user: User, status: administration.Status) -> None:
        key = f"status-{next(_NUMBERS)}-{os.getpid()}"
        self.owner(
            lambda database: administration.set_status(
                database, user.account_id, status, "test", key
            )
        )

    def owner(self, work: Callable[[Database], Awaitable[Answer]]) -> Answer:
        """Runs `work` with the owner's rights, in an event loop in another thread."""

        async def run() -> Answer:
            database = Database(self.database_url, size=1, role="finpay_owner")
            try:
                return await work(database)
            finally:
                await database.close()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(run())).result()

    def sql(self, query: str, *args: object) -> list[Any]:
        """Rows, read with the owner's rights."""
        return list(self.owner(lambda database: database.fetch(query, *args)))

    def verify(self) -> None:
        """`finpay ledger verify` on the whole database."""
        report = self.owner(verify.verify)
        assert report.ok, [check for check in report.checks if not check.ok]

    def workers(self) -> list[psutil.Process]:
        return api_workers(self.process.pid)

    def stop(self) -> int:
        """SIGTERM, as a platform sends it; the exit code. AssertionError if it needs SIGKILL."""
        for http in self.connections:
            http.close()
        was_running, workers = self.server.running, self.workers()
        self.server.stop()
        code = self.process.returncode
        if was_running and code == -SIGKILL:
            for worker in workers:
                signal_tree(worker.pid, SIGKILL)
            raise AssertionError(f"not stopped after {self.server.stop_limit_s} s")
        return code


def start_api(folder: Path, database_url: str, redis_url: str, **settings: str) -> Api:
    """Starts `finpay serve` without waiting for it. Rate limits are off unless settings set them.

    `settings` are environment names: `FINPAY_WORKERS="2"`.
    """
    stack = Stack(folder, ServerUrls(database_url, database_url, redis_url))
    environment = clean_environment(**LIMITS_OFF, FINPAY_WORKERS="1") | settings
    server = stack.start_api(environment, f"serve-{next(_NUMBERS)}")
    return Api(server.url, database_url, server)


def await_ready(api: Api, limit_s: float = READY_LIMIT_S) -> None:
    """Returns when /readyz says ok or warn."""
    try:
        api.server.await_ready(api.server.is_ready, limit_s)
    except DevError as error:
        raise AssertionError(api.log.read_text()[-2000:]) from error


@contextmanager
def running_api(folder: Path, database_url: str, redis_url: str, **settings: str) -> Iterator[Api]:
    """An API that is ready, stopped at the end of the block."""
    api = start_api(folder, database_url, redis_url, **settings)
    try:
        await_ready(api)
        yield api
    finally:
        api.stop()
