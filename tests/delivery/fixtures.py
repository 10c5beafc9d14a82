"""A database, owners with endpoints, and processes of `finpay worker`."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from finpay.identity.models import RequestOrigin
from finpay.ledger import verify
from finpay.webhooks import endpoints
from tests.sql.ledger_fixtures import Bank, Holder

LOOPBACK: Final = "127.0.0.0/8,::1/128"
CHUNK: Final = 500  # each is one more version of the system account's row
STOP_LIMIT_S: Final = 20.0
_NUMBERS: Final = count(1)


@dataclass(frozen=True, slots=True)
class OwnedEndpoint:
    """An endpoint and its owner. `secret` is the receiver's."""

    holder: Holder
    id: UUID
    secret: str

    @property
    def owner(self) -> endpoints.Owner:
        return endpoints.Owner(
            self.holder.user_id, self.holder.account_id, RequestOrigin("req_test", None)
        )


@dataclass
class Worker:
    """One `finpay worker`."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """The log so far, without the lines that are no JSON."""
        text = self.log.read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_LIMIT_S)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_LIMIT_S)

    def wait(self, limit_s: float = 60) -> int:
        return self.process.wait(limit_s)


@dataclass
class System:
    """A database, its endpoints and its workers."""

    url: str
    folder: Path
    bank: Bank
    workers: list[Worker] = field(default_factory=list)

    async def add_endpoint(
        self,
        url: str,
        *event_types: str,
        holder: Holder | None = None,
        enabled: bool = True,
    ) -> OwnedEndpoint:
        """An endpoint of `holder` or a new owner, as POST /webhook_endpoints creates it."""
        holder = holder or await self.bank.open()
        owner = endpoints.Owner(holder.user_id, holder.account_id, RequestOrigin("req_test", None))
        spec = endpoints.EndpointSpec(url, None, event_types or ("transaction.*",), enabled)
        created = await endpoints.create(self.bank.app, owner, spec)
        assert created is not None
        return OwnedEndpoint(holder, created[0].id, created[1])

    async def add_events(self, endpoint: OwnedEndpoint, number: int) -> None:
        """That many events transaction.completed of the owner, one per commit."""
        for _ in range(number):
            await self.bank.fund(endpoint.holder, 1)

    async def add_many_events(self, endpoint: OwnedEndpoint, number: int) -> None:
        """The same, CHUNK events per commit."""
        for first in range(0, number, CHUNK):
            await self.bank.owner.execute(
                "SELECT count((ledger.fund(gen_random_uuid(), $1, 1, gen_random_uuid()::text, '')"
                ").answer) FROM generate_series(1, $2)",
                endpoint.holder.account_id,
                min(CHUNK, number - first),
            )

    def start_worker(self, *arguments: str, **settings: str) -> Worker:
        """Starts `finpay worker`; `settings` are environment variables."""
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": self.url,
            "FINPAY_WEBHOOK_ALLOWED_CIDRS": LOOPBACK,
            **({"COVERAGE_PROCESS_START": os.environ["COVERAGE_PROCESS_START"]}
               if "COVERAGE_PROCESS_START" in os.environ else {}),
            **settings,
        }  # fmt: skip
        log = self.folder / f"worker-{next(_NUMBERS)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "finpay", "worker", *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def deliver_due(self, **settings: str) -> None:
        """Runs `finpay worker --once`, which delivers all that is due and exits."""
        worker = self.start_worker("--once", **settings)
        assert worker.wait() == 0, worker.log.read_text()

    async def statuses(self) -> dict[str, int]:
        """The number of deliveries per status."""
        rows = await self.bank.app.fetch(
            "SELECT status, count(*) AS n FROM webhooks.deliveries GROUP BY status"
        )
        return {row["status"]: row["n"] for row in rows}

    async def attempts(self, endpoint: OwnedEndpoint) -> Sequence[Any]:
        """Of all deliveries to the endpoint, in order."""
        return await self.bank.app.fetch(
            "SELECT a.* FROM webhooks.attempts a JOIN webhooks.deliveries d ON d.id = delivery_id "
            "WHERE endpoint_id = $1 ORDER BY a.started_at, a.number",
            endpoint.id,
        )

    async def until_status(self, limit_s: float = 20, **expected: int) -> None:
        """Waits for these numbers of deliveries per status: `until_status(delivered=5)`."""
        async with asyncio.timeout(limit_s):
            while (found := await self.statuses()) != expected:
                assert found is not None
                await asyncio.sleep(0.02)

    async def until_workers(self, count: int, limit_s: float = 20) -> None:
        """Waits for that number of registered workers."""
        async with asyncio.timeout(limit_s):
            while len(await self.bank.app.fetch("SELECT id FROM webhooks.workers")) != count:
                await asyncio.sleep(0.02)

    async def endpoint_row(self, endpoint: OwnedEndpoint) -> Any:
        return await self.bank.row("SELECT * FROM webhooks.endpoints WHERE id = $1", endpoint.id)

    async def verify(self) -> None:
        """Asserts that the verification of the ledger finds no violation."""
        report = await verify.verify(self.bank.owner)
        assert report.ok, [check for check in report.checks if not check.ok]

    async def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        await self.bank.close()
