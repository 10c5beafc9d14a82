"""Redis stops, hangs, is full, is flushed or slow: only time is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

import pytest

from tests.api_process import PASSWORD, Api, running_api
from tests.faults.api_probes import (
    RECOVERY_S,
    ask,
    await_new_workers,
    await_redis,
    await_that,
    marker_of,
    statuses,
    stored_balance,
    workers,
)
from tests.faults.redis_faults import assert_redis_refuses, full, hung, info, redis, stopped
from tests.load import Payment, load, percentile, prove, resolve, send_all
from tests.servers import OwnValkey
from tests.support.tcp_proxy import TcpProxy

# Promised: 100 ms; the rest is for a machine that runs other tests.
WAIT_BOUND_S: Final = 0.4

Fault = Callable[[OwnValkey], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def api(
    database_url: str, valkey_proxy: tuple[TcpProxy, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """An API with two workers, behind a proxy before `valkey`."""
    folder = tmp_path_factory.mktemp("without-redis")
    with running_api(folder, database_url, valkey_proxy[1], FINPAY_WORKERS="2") as running:
        yield running


@pytest.fixture(autouse=True)
def _with_redis(api: Api) -> Iterator[None]:
    """Every test starts and ends with a Redis that both workers use."""
    await_redis(api, "ok")
    yield
    await_redis(api, "ok")


@pytest.mark.contract("3.1.1")
@pytest.mark.parametrize("fault", [stopped, hung, full])
def test_transfers_during_a_redis_fault_are_nearly_as_fast(
    api: Api, valkey: OwnValkey, fault: Fault
) -> None:
    senders, receiver = [api.user(1_000) for _ in range(2)], api.user()
    with load(api, senders, receiver) as running:
        running.wait_for(40)
        baseline_s = percentile(running.sent, 0.99)
        before = len(running.sent)
        with fault(valkey):
            assert_redis_refuses(valkey)
            running.wait_for(40)
            assert_degraded(api)
            during = running.sent[before:]
        running.wait_for(20)
    assert set(running.counts) == {201}, running.counts
    assert percentile(during, 0.99) < baseline_s + WAIT_BOUND_S
    prove(api, running, resolve(api, running))
    await_redis(api, "ok", RECOVERY_S)


@pytest.mark.contract("3.1.1")
@pytest.mark.parametrize("fault", [stopped, hung, full])
def test_keys_and_sessions_during_a_redis_fault_are_read_from_postgresql(
    api: Api, valkey: OwnValkey, fault: Fault
) -> None:
    alice, bob = api.user(1_000), api.user()
    first = alice.send(bob, 5, "known")
    leaving = api.user()
    with fault(valkey):
        await_redis(api, "down")
        replay = alice.send(bob, 5, "known")
        assert (replay.status, replay.body) == (201, first.body)
        assert replay.headers["Idempotent-Replayed"] == "true"
        assert alice.send(bob, 6, "known").json()["code"] == "idempotency_key_reuse"
        assert alice.send(bob, 7, "new").status == 201
        assert alice.balance == 988
        leaving.client.login(leaving.email, PASSWORD)
        token = leaving.token
        assert statuses(api, token) == {200}
        leaving.client.logout()
        assert statuses(api, token) == {401}
    await_redis(api, "ok", RECOVERY_S)
    assert statuses(api, token) == {401}
    replay = alice.send(bob, 7, "new")
    assert (replay.status, replay.headers["Idempotent-Replayed"]) == (201, "true")


@pytest.mark.contract("1.8.7")
def test_equal_keys_without_redis_have_one_effect_and_one_answer(
    api: Api, valkey: OwnValkey
) -> None:
    alice, bob, carol = api.user(1_000), api.user(), api.user()
    same = [Payment(alice, bob, "twins")] * 12
    other = [Payment(alice, carol, "twins")] * 4
    with stopped(valkey):
        await_redis(api, "down")
        answers = send_all(api, same + other)
    assert sum(user.balance for user in (bob, carol)) == 1
    statuses_seen = {answer.status for answer in answers}
    assert statuses_seen == {201, 422}, "no 409 without a claim"
    winners = {answer.body for answer in answers if answer.status == 201}
    assert len(winners) == 1
    assert sum(not answer.replayed for answer in answers if answer.status == 201) == 1


@pytest.mark.contract("3.1.3")
def test_flush_under_load_doubles_no_transfer(api: Api, valkey: OwnValkey) -> None:
    senders, receiver, gone = [api.user(1_000) for _ in range(2)], api.user(), api.user()
    first = senders[0].send(senders[1], 1, "before-the-flush")
    token = gone.token
    gone.client.logout()
    with load(api, senders, receiver) as running, redis(valkey) as client:
        for _ in range(20):
            running.wait_for(3)
            assert client.dbsize() > 0, "there are keys to flush"
            client.flushall()
    assert set(running.counts) == {201}, running.counts
    prove(api, running, resolve(api, running))
    client.flushall()
    assert statuses(api, token) == {401}
    replay = senders[0].send(senders[1], 1, "before-the-flush")
    assert (replay.status, replay.body) == (201, first.body)
    assert replay.headers["Idempotent-Replayed"] == "true"


def test_redis_restarted_empty_under_load_fails_no_request(api: Api, valkey: OwnValkey) -> None:
    senders, receiver, gone = [api.user(1_000) for _ in range(2)], api.user(), api.user()
    token = gone.token
    gone.client.logout()
    with load(api, senders, receiver) as running:
        for _ in range(2):
            running.wait_for(10)
            valkey.stop()
            valkey.start()
    assert set(running.counts) == {201}, running.counts
    prove(api, running, resolve(api, running))
    await_redis(api, "ok", RECOVERY_S)
    assert statuses(api, token) == {401}


def test_evictions_under_load_double_no_transfer(api: Api, valkey: OwnValkey) -> None:
    senders, receiver, gone = [api.user(1_000) for _ in range(2)], api.user(), api.user()
    token = gone.token
    gone.client.logout()
    with redis(valkey) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", info(client, "used_memory") + 1_000_000)
        try:
            with load(api, senders, receiver) as running:
                while info(client, "evicted_keys") < 200:
                    client.set(f"ballast-{time.monotonic()}", "x" * 20_000)
                running.wait_for(20)
                final = resolve(api, running)
        finally:
            client.config_set("maxmemory", "256mb")
            client.config_set("maxmemory-policy", "noeviction")
    # 409: the claim of a key is still there, but its stored answer was evicted.
    assert {201} <= set(running.counts) <= {201, 409}, running.counts
    prove(api, running, final | resolve(api, running))
    assert statuses(api, token) == {401}
    alice = senders[0]
    assert alice.balance == alice.balance == stored_balance(api, alice)


def test_late_redis_response_reaches_no_other_request(
    api: Api, valkey_proxy: tuple[TcpProxy, str]
) -> None:
    users = [api.user() for _ in range(3)]
    for user in users * 2:
        assert user.get("/accounts").json()["id"] == user.account_id
    slow, fast = 0, 0
    valkey_proxy[
        0
    ].response_delay_s = 0.11  # longer than a request waits, shorter than the probe gives up
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for user in users:
                started = time.monotonic()
                assert user.get("/accounts").json()["id"] == user.account_id
                waited_s = time.monotonic() - started
                assert waited_s < WAIT_BOUND_S
                slow, fast = slow + (waited_s > 0.08), fast + (waited_s <= 0.08)
    finally:
        valkey_proxy[0].response_delay_s = 0
    assert slow > 0, "some requests were delayed"
    assert fast > slow, "most did not: the breaker was open"


@pytest.mark.contract("3.1.2")
def test_session_revoked_during_a_redis_fault_is_written_to_redis_first(
    api: Api, valkey: OwnValkey
) -> None:
    """The user's connection stays with one worker, which has deferred the tombstone."""
    user = api.user()
    token = user.token
    assert user.get("/auth/me").status == 200
    with hung(valkey):
        user.client.request("POST", "/api/v1/auth/logout")
        assert user.get("/auth/me").status == 401
    await_that("Redis ok", lambda: user.get("/health").json()["checks"]["redis"] == "ok")
    with redis(valkey) as client:
        assert client.get(marker_of(user, token)) == b"revoked"
    assert statuses(api, token) == {401}


@pytest.mark.contract("3.1.2")
def test_session_revoked_by_a_killed_process_is_refused_within_a_minute(
    api: Api, valkey: OwnValkey
) -> None:
    user = api.user()
    token = user.token
    assert user.get("/auth/me").status == 200
    with hung(valkey):
        user.client.request("POST", "/api/v1/auth/logout")
        killed = workers(api)
        for worker in killed:
            worker.kill()
        await_new_workers(api, 2, but={worker.pid for worker in killed})
    await_redis(api, "ok", RECOVERY_S)
    with redis(valkey) as client:
        marker = marker_of(user, token)
        assert client.get(marker) == b"0", "the killed workers lost their deferred tombstone"
        assert 0 < client.pttl(marker) <= 60_000
        client.pexpire(marker, 60_000)  # a slow machine may have used most of it
        assert statuses(api, token) == {200}, "until its marker expires"
        client.pexpire(marker, 1)
        time.sleep(0.005)
    assert statuses(api, token) == {401}


@pytest.mark.contract("3.1.1")
def test_rate_limits_without_redis_are_kept_per_process(
    api: Api, serve: Callable[..., Api], own_valkey: Callable[..., OwnValkey]
) -> None:
    """Redis is down from the start: the API is ready, and each of two workers has half a limit."""
    valkey = own_valkey()
    valkey.stop()
    limited = serve(
        REDIS_URL=valkey.url,
        FINPAY_WORKERS="2",
        FINPAY_RATE_LIMIT_TRANSACTION="1/60",
        FINPAY_RATE_LIMIT_GLOBAL="20/60",
    )
    alice, bob, carol = api.user(1_000), api.user(), api.user()
    answers = send_all(limited, [Payment(alice, bob, f"limited-{n}") for n in range(12)])
    admitted = sum(answer.status == 201 for answer in answers)
    assert 1 <= admitted <= 2, "max(1, 1 // 2) in each process"
    refused = next(answer for answer in answers if answer.status == 429)
    assert int(refused.headers["retry-after"]) <= 60
    seen = [ask(limited, "/api/v1/auth/me", carol.token).status_code for _ in range(24)]
    assert 10 <= seen.count(200) <= 20
    assert seen.count(429) >= 4
    valkey.start()
    await_redis(limited, "ok", RECOVERY_S)
    seen = [ask(limited, "/api/v1/auth/me", bob.token).status_code for _ in range(24)]
    assert seen == [200] * 20 + [429] * 4, "exact again, over both workers"


def assert_degraded(api: Api) -> None:
    """Transfers work without Redis, so the service is ready."""
    await_redis(api, "down", 2.0)
    health = ask(api, "/api/v1/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert health.json()["checks"] == {"postgres": "ok", "redis": "down"}
    ready = ask(api, "/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "warn")
