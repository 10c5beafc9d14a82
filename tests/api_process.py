"""The production API as tests meet it: `finpay serve` in processes of its own, over real HTTP."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import httpx
import psutil

from finpay import ids
from finpay.client import FinPay
from finpay.db.pool import Database
from finpay.dev.child_process import free_port
from finpay.ledger import administration, verify

PASSWORD: Final = "correct horse battery"
READY_LIMIT_S: Final = 20.0
STOP_LIMIT_S: Final = 30.0

Answer = TypeVar("Answer")
_NUMBERS: Final = count(1)


@dataclass
class User:
    """Somebody who is logged in, with a client of their own that never retries."""

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
        """The raw answer of a transfer."""
        body = {"receiver_id": receiver.account_id, "amount": amount, **more}
        return self.client.request(
            "POST", "/api/v1/transactions", json=body, headers={"X-Idempotency-Key": key}
        )

    def get(self, path: str, **params: Any) -> Any:
        return self.client.request("GET", f"/api/v1{path}", params=params or None)

    @property
    def balance(self) -> int:
        return int(self.get("/accounts").json()["balance"])


@dataclass
class Api:
    """One running `finpay serve`."""

    url: str
    database_url: str
    process: subprocess.Popen[bytes]
    log: Path
    connections: list[httpx.Client] = field(default_factory=list)

    def client(self, **options: Any) -> FinPay:
        """A client without a login. Its connections end with the API."""
        # Nothing is encrypted on loopback, and reading the system's certificates takes 70 ms.
        limits = httpx.Limits(max_connections=200)
        http = httpx.Client(trust_env=False, verify=False, timeout=30, limits=limits)  # noqa: S501
        self.connections.append(http)
        return FinPay(self.url, http=http, **{"max_retries": 0, **options})

    def user(self, balance: int = 0, *, currency: str = "ZAR", name: str | None = None) -> User:
        """A new user, logged in, with money from the outside world."""
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
        """Does something with the owner's rights, in a loop of its own."""

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
        """The ledger's own proof, on what this test left behind."""
        report = self.owner(verify.verify)
        assert report.ok, [check for check in report.checks if not check.ok]

    def workers(self) -> list[psutil.Process]:
        """The processes that serve, without the supervisor and multiprocessing's tracker."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def stop(self) -> int:
        """SIGTERM, as a platform would; the exit code."""
        for http in self.connections:
            http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            for process in [*psutil.Process(self.process.pid).children(recursive=True)]:
                process.kill()
            self.process.kill()
            raise


def start_api(folder: Path, database_url: str, redis_url: str, **settings: str) -> Api:
    """Starts `finpay serve` without waiting. Limits are off unless settings say more.

    `settings` are environment names: `FINPAY_WORKERS="2"`.
    """
    port = free_port()
    log = folder / f"serve-{port}.log"
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PORT": str(port),
        "FINPAY_WORKERS": "1",
        "FINPAY_RATE_LIMIT_GLOBAL": "off",
        "FINPAY_RATE_LIMIT_AUTH": "off",
        "FINPAY_RATE_LIMIT_TRANSACTION": "off",
        **({"COVERAGE_PROCESS_START": os.environ["COVERAGE_PROCESS_START"]}
           if "COVERAGE_PROCESS_START" in os.environ else {}),
        **settings,
    }  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "finpay", "serve"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Api(f"http://127.0.0.1:{port}", database_url, process, log)


def await_ready(api: Api, limit_s: float = READY_LIMIT_S) -> None:
    """Until /readyz says ok or warn."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        assert api.process.poll() is None, api.log.read_text()
        try:
            if httpx.get(f"{api.url}/readyz", trust_env=False, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not ready after {limit_s} s: {api.log.read_text()[-2000:]}")


@contextmanager
def running_api(folder: Path, database_url: str, redis_url: str, **settings: str) -> Iterator[Api]:
    """An API that is ready, for as long as the block lasts."""
    api = start_api(folder, database_url, redis_url, **settings)
    try:
        await_ready(api)
        yield api
    finally:
        api.stop()
