"""The worker's log: a line at the start, per attempt and at the end, and the reason of a wait."""

import time
import traceback
from typing import Final, NoReturn

import pytest
from structlog.testing import capture_logs

from finpay import ids
from finpay.webhooks.messages import Message
from finpay.webhooks.sender import Sender
from tests.delivery.fixtures import System
from tests.delivery.receiver import Receiver, status, until
from tests.delivery.worker_in_process import until_async, worker_in_process

WAIT_S: Final = 4.0


@pytest.mark.fault("O1")
async def test_attempts_start_and_end_have_one_line_each(
    system: System, receiver: Receiver
) -> None:
    receiver.behave = lambda _: status(503 if len(receiver.requests) == 1 else 200)
    endpoint = await system.add_endpoint(f"{receiver.url}?token=canary")
    await system.add_events(endpoint, 2)
    worker = system.start_worker(
        FINPAY_WEBHOOK_CONCURRENCY="1",
        FINPAY_WEBHOOK_RETRY_SCHEDULE="3600",
        DATABASE_URL=system.url,
    )
    await system.until_status(delivered=1, scheduled=1)
    assert worker.stop() == 0
    lines = worker.lines()
    assert [line["event"] for line in lines] == [
        *("worker_started", "delivery_attempt", "delivery_attempt", "worker_stopped")
    ]
    started, failed, delivered, stopped = lines
    assert started["version"]
    assert started["concurrency"] == 1
    assert started["database_host"]
    assert (failed["http_status"], failed["error"]) == (503, "bad_status")
    assert (delivered["http_status"], delivered["error"]) == (200, None)
    assert failed["endpoint"] == ids.encode("whe", endpoint.id)
    assert failed["delivery"].startswith("whd_")
    assert failed["type"] == "transaction.completed"
    assert 0 <= failed["ms"] < 5_000
    assert (stopped["delivered"], stopped["failed"]) == (1, 1)
    text = worker.log.read_text()
    assert not [secret for secret in ("canary", endpoint.secret, "whsec_") if secret in text]


@pytest.mark.fault("O1")
async def test_missing_postgres_is_logged_with_the_reason_every_few_seconds(system: System) -> None:
    worker = system.start_worker(DATABASE_URL="postgresql://user:canary@127.0.0.1:1/nowhere")
    until(lambda: any(line["event"] == "waiting_for_postgres" for line in worker.lines()))
    time.sleep(WAIT_S)
    assert worker.stop() == 0
    lines = worker.lines()
    waiting = [line for line in lines if line["event"] == "waiting_for_postgres"]
    assert len(waiting) == 1
    assert "refused" in waiting[0]["reason"]
    assert lines[0]["database_host"] == "127.0.0.1:1"
    assert "canary" not in worker.log.read_text()


class _BrokenSender(Sender):
    async def send(self, message: Message) -> NoReturn:
        raise LookupError("planted", message.url)


@pytest.mark.fault("O1")
async def test_a_bug_is_logged_with_the_delivery_and_its_endpoint(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 1)
    with capture_logs() as lines:
        async with worker_in_process(system, _BrokenSender):
            await until_async(lambda: any(x["event"] == "delivery_task_error" for x in lines))
    found = next(line for line in lines if line["event"] == "delivery_task_error")
    assert found["endpoint"] == ids.encode("whe", endpoint.id)
    (row,) = await system.bank.app.fetch("SELECT id FROM webhooks.deliveries")
    assert found["delivery"] == ids.encode("whd", row["id"])
    assert "planted" in "".join(traceback.format_exception(found["exc_info"]))
