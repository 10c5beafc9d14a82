"""From a worker that proves the ledger to what /readyz and /metrics of the API say."""

import re
from collections.abc import Callable

import httpx

from finpay import ids
from finpay.dev.child_process import free_port
from tests.api_process import Api
from tests.delivery.fixtures import Scene
from tests.faults.api_probes import ask, await_that

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


async def test_a_worker_forgets_refresh_tokens_that_expired(
    scene: Scene, serve: Callable[..., Api]
) -> None:
    api = serve(DATABASE_URL=scene.url)
    for _ in range(3):
        api.user()
    told = "SELECT count(*) FROM identity.refresh_tokens"
    before = api.sql(told)[0][0]
    gone = api.sql(
        "UPDATE identity.refresh_tokens SET expires_at = now() - interval '1 day' "
        "WHERE hash <> (SELECT min(hash) FROM identity.refresh_tokens) RETURNING 1"
    )
    worker = scene.work()
    await_that("forgotten", lambda: api.sql(told)[0][0] == before - len(gone), LIMIT_S)
    assert before - len(gone) == 1
    assert worker.stop() == 0
