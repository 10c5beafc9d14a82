"""The HTTP server of a worker: /metrics, /livez and /readyz."""

import httpx

from finpay.dev.child_process import free_port
from tests.delivery.fixtures import System, Worker
from tests.delivery.receiver import OK, Receiver, status, until


async def test_metrics_count_attempts(system: System, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(500) if len(receiver.requests) == 1 else OK
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 3)
    _, url = _open(system, FINPAY_WEBHOOK_RETRY_SCHEDULE="3600")
    await system.until_status(delivered=2, scheduled=1)
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    assert 'finpay_webhook_attempts_total{outcome="delivered"} 2.0' in text
    assert 'finpay_webhook_attempts_total{outcome="bad_status"} 1.0' in text
    assert "finpay_webhook_attempt_duration_seconds_count 3.0" in text
    until(lambda: _gauge(url, "finpay_webhook_oldest_undelivered_seconds") > 0)
    assert _gauge(url, "finpay_webhook_leases") == 0


async def test_livez_and_readyz(system: System) -> None:
    worker, url = _open(system)
    assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200
    until(lambda: httpx.get(f"{url}/readyz", trust_env=False).status_code == 200)
    assert httpx.get(f"{url}/elsewhere", trust_env=False).status_code == 404
    assert worker.stop() == 0


async def test_metrics_need_the_token(system: System) -> None:
    _, url = _open(system, FINPAY_METRICS_TOKEN="open sesame")
    assert httpx.get(f"{url}/metrics", trust_env=False).status_code == 401
    headers = {"Authorization": "Bearer open sesame"}
    assert httpx.get(f"{url}/metrics", headers=headers, trust_env=False).status_code == 200


async def test_database_without_a_migration_is_refused(system: System) -> None:
    await system.bank.owner.execute(
        "DELETE FROM finpay.schema_migrations WHERE version > '20261129000007'"
    )
    worker = system.start_worker("--once")
    assert worker.wait() == 2
    assert "finpay migrate" in worker.log.read_text()


async def test_once_without_postgres_exits(system: System) -> None:
    worker = system.start_worker("--once", DATABASE_URL="postgresql://127.0.0.1:1/nowhere")
    assert worker.wait() == 2
    assert "PostgreSQL" in worker.log.read_text()


def _open(system: System, **settings: str) -> tuple[Worker, str]:
    """A worker whose port answers, and its URL."""
    port = free_port()
    worker = system.start_worker(FINPAY_WORKER_PORT=str(port), **settings)
    url = f"http://127.0.0.1:{port}"
    until(lambda: _answers(url), state=worker.log.read_text)
    return worker, url


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _gauge(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics", trust_env=False).text.splitlines()
    (value,) = [line.split(" ")[1] for line in lines if line.startswith(f"{name} ")]
    return float(value)
