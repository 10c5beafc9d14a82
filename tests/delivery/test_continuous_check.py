"""From a worker that proves the ledger to what /readyz and /metrics of the API say."""

import re
from collections.abc import Callable

import httpx

from finpay import ids
from finpay.dev.servers import free_port
from tests.apis import Api
from tests.delivery.scene import Scene
from tests.faults.watching import ask, await_that

LIMIT_S = 20.0
MOVED = "UPDATE ledger.accounts SET balance = balance + {} WHERE id = '{}'"


def integrity(api: Api) -> str:
    ready = ask(api, "/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok"), "money moves all the same"
    verdict: str = ready.json()["checks"]["integrity"]
    return verdict


def gauge(text: str, name: str) -> float:
    found = re.search(rf"^finpay_integrity_{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


async def test_what_a_worker_finds_is_told_by_every_process(
    scene: Scene, serve: Callable[..., Api]
) -> None:
    api = serve(DATABASE_URL=scene.url)
    alice = api.user(1_000)
    account = ids.decode("acc", alice.account_id)
    assert integrity(api) == "unknown"
    port = str(free_port())
    worker = scene.work(FINPAY_INTEGRITY_INTERVAL="1", FINPAY_WORKER_PORT=port)
    await_that("proved", lambda: integrity(api) == "ok", LIMIT_S)
    assert gauge(ask(api, "/metrics").text, "violations") == 0
    assert gauge(ask(api, "/metrics").text, "last_success_timestamp_seconds") > 1.7e9

    api.sql(MOVED.format(1, account))
    await_that("failed", lambda: integrity(api) == "failed", LIMIT_S)
    assert gauge(ask(api, "/metrics").text, "violations") == 2, "its balance, and the total"
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert gauge(told, "violations") == 2
    assert gauge(told, "checked_through_timestamp_seconds") > 1.7e9
    assert alice.account_id in worker.log.read_text()

    api.sql(MOVED.format(-1, account))
    await_that("right again", lambda: integrity(api) == "ok", LIMIT_S)
    assert worker.stop() == 0
