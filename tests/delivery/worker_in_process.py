"""A worker of deliveries in the process of the test, with a sender of the test's choice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from finpay import settings
from finpay.db.pool import Database
from finpay.webhooks.sender import Sender
from finpay.webhooks.ssrf.url_policy import UrlPolicy
from finpay.webhooks.worker import CONNECTIONS, Worker
from tests.delivery.fixtures import LOOPBACK, System


@asynccontextmanager
async def worker_in_process(
    system: System, make_sender: Callable[[UrlPolicy, float], Sender]
) -> AsyncIterator[Worker]:
    """Running until the end of the block, which does not wait for attempts."""
    database, heartbeat = Database(system.url, size=CONNECTIONS), Database(system.url, size=1)
    access = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": LOOPBACK})
    worker = Worker(database, heartbeat, access, make_sender)
    running = asyncio.create_task(worker.run())
    yield worker
    worker.stop()
    worker.stop()
    await running
    await asyncio.gather(database.close(), heartbeat.close())


async def until_async(holds: Callable[[], bool], limit_s: float = 20) -> None:
    """Waits without stopping the worker of this process. TimeoutError after the limit."""
    async with asyncio.timeout(limit_s):
        while not holds():
            await asyncio.sleep(0.01)
