"""The worker's verification of the ledger is shown by /readyz and /metrics of the API."""

import re
from collections.abc import Callable

import httpx

from finpay import ids
from finpay.dev.child_process import free_port
from tests.api_process import Api
from tests.delivery.fixtures import System
from tests.faults.api_probes import ask, await_that

LIMIT_S = 20.0
MOVED = "UPDATE ledger.accounts SET balance = balance + {} WHERE id = '{}'"


def integrity(api: Api) -> str:
    ready = ask(api, "/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok"), (
        "a violation does not make the API unready"
    )
    state: str = ready.json()["checks"]["integrity"]
    return state


def gauge(text: str, name: str) -> float:
    found = re.search(rf"^finpay_integrity_{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


async def test_violation_found_by_a_worker_is_shown_by_every_process(
    system: System, serve: Callable[..., Api]
) -> None:
    api = serve(DATABASE_URL=system.url)
    alice = api.user(1_000)
    account = ids.decode("acc", alice.account_id)
    assert integrity(api) == "unknown"
    port = str(free_port())
    worker = system.start_worker(FINPAY_INTEGRITY_INTERVAL="1", FINPAY_WORKER_PORT=port)
    await_that("verified", lambda: integrity(api) == "ok", LIMIT_S)
    assert gauge(ask(api, "/metrics").text, "violations") == 0
    assert gauge(ask(api, "/metrics").text, "last_success_timestamp_seconds") > 1.7e9

    api.sql(MOVED.format(1, account))
    await_that("failed", lambda: integrity(api) == "failed", LIMIT_S)
    assert gauge(ask(api, "/metrics").text, "violations") == 2, "its balance, and the total"
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert gauge(metrics, "violations") == 2
    assert gauge(metrics, "checked_through_timestamp_seconds") > 1.7e9
    assert alice.account_id in worker.log.read_text()

    api.sql(MOVED.format(-1, account))
    await_that("repaired", lambda: integrity(api) == "ok", LIMIT_S)
    assert worker.stop() == 0


async def test_worker_deletes_expired_refresh_tokens(
    system: System, serve: Callable[..., Api]
) -> None:
    api = serve(DATABASE_URL=system.url)
    for _ in range(3):
        api.user()
    count = "SELECT count(*) FROM identity.refresh_tokens"
    before = api.sql(count)[0][0]
    expired = api.sql(
        "UPDATE identity.refresh_tokens SET expires_at = now() - interval '1 day' "
        "WHERE hash <> (SELECT min(hash) FROM identity.refresh_tokens) RETURNING 1"
    )
    worker = system.start_worker()
    await_that("deleted", lambda: api.sql(count)[0][0] == before - len(expired), LIMIT_S)
    assert before - len(expired) == 1
    assert worker.stop() == 0
