"""A worker is killed with SIGKILL, as by a crash or the kernel."""

import os
import random
import signal
import time
from collections.abc import Iterator
from threading import Thread
from typing import Final

import pytest
from redis import Redis

from finpay.gate import redis_keys
from tests.api_process import Api, await_ready, running_api
from tests.faults.api_probes import await_new_workers, await_that, locked, stored_balance, workers
from tests.load import Payment, load, prove, resolve, send_all
from tests.support.tcp_proxy import TcpProxy

KILLS: Final = 4
REPLACED_S: Final = 10.0
CLAIM_S: Final = 10.0


@pytest.fixture(scope="module")
def killable(
    database_url: str, redis_proxy: tuple[TcpProxy, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """Two workers to kill. `api`, which shares their servers, keeps running."""
    folder = tmp_path_factory.mktemp("killable")
    with running_api(folder, database_url, redis_proxy[1], FINPAY_WORKERS="2") as running:
        yield running


@pytest.mark.contract("3.1.5")
def test_workers_killed_under_load_lose_no_transfer(api: Api, killable: Api) -> None:
    senders, receiver = [api.user(3_000) for _ in range(3)], api.user()
    chance = random.Random(7)
    with load(killable, senders, receiver, clients=12, pause_s=0) as running:
        for _ in range(KILLS):
            running.wait_for(10)
            time.sleep(chance.uniform(0, 0.02))  # at any point between claim and answer
            before = workers(killable)
            chance.choice(before).kill()
            seen = {worker.pid for worker in before}
            await_new_workers(killable, 1, but=seen, limit_s=REPLACED_S)
        await_that("two workers", lambda: len(workers(killable)) == 2, REPLACED_S)
        running.wait_for(10)
    interrupted = running.count(0)
    assert interrupted > 0, "some requests were in flight at the kill"
    assert set(running.counts) == {201, 0}, running.counts
    prove(killable, running, resolve(killable, running))


@pytest.mark.contract("1.9.2")
def test_worker_killed_between_commit_and_completion_leaves_no_stale_read(
    api: Api, killable: Api, redis_proxy: tuple[TcpProxy, str], redis_url: str
) -> None:
    alice, bob = api.user(1_000), api.user()
    assert alice.balance == alice.balance == 1_000, "the second time from the cache"
    kill_at_completion(killable, redis_proxy[0])
    (lost,) = send_all(killable, [Payment(alice, bob, "uncompleted")])
    assert lost.status == 0, "killed before the answer"
    assert stored_balance(api, alice) == 999, "and after its commit"
    assert alice.balance == alice.balance == 999
    assert alice.get("/transactions").json()["data"][0]["amount"] == 1
    assert bob.balance in {0, 1}, "other users may read a stale value for 10 s"
    busy = alice.send(bob, 1, "uncompleted")
    assert (busy.status, busy.json()["code"]) == (409, "request_in_progress")
    assert busy.headers["Retry-After"] == "1"
    let_expire(redis_url, redis_keys.idempotency_key(alice.user_id, "uncompleted"), CLAIM_S)
    retried = alice.send(bob, 1, "uncompleted")
    assert (retried.status, retried.headers["Idempotent-Replayed"]) == (201, "true")
    assert alice.balance == alice.balance == 999
    assert stored_balance(api, bob) == 1
    api.verify()


@pytest.mark.parametrize("evicted", [False, True])
def test_balance_read_before_a_commit_is_not_served_after_the_retry(
    api: Api, killable: Api, redis_proxy: tuple[TcpProxy, str], redis_url: str, *, evicted: bool
) -> None:
    """The write marker keeps the old balance out of the cache; once evicted, the retry does."""
    alice, bob = api.user(1_000), api.user()
    kill_at_completion(killable, redis_proxy[0])
    payment = Payment(alice, bob, "forgotten")
    with locked(api, alice) as lock, Redis.from_url(redis_url) as client:
        sending = Thread(target=send_all, args=(killable, [payment]))
        sending.start()
        lock.await_waiter()
        if evicted:
            client.delete(redis_keys.cache(alice.user_id))
        assert alice.balance == alice.balance == 1_000, "before the commit"
        lock.release()
        sending.join()
        assert stored_balance(api, alice) == 999
        assert evicted or alice.balance == 999
        client.delete(redis_keys.idempotency_key(alice.user_id, "forgotten"))
    assert alice.send(bob, 1, "forgotten").headers["Idempotent-Replayed"] == "true"
    assert alice.balance == alice.balance == 999


def kill_at_completion(killable: Api, proxy: TcpProxy) -> None:
    """Both workers are killed when the first completion reaches the proxy, which drops it."""
    await_that("both workers", lambda: len(workers(killable)) == 2, REPLACED_S)
    await_ready(killable)  # new workers may still be starting
    pids = [worker.pid for worker in workers(killable)]

    def kill() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    proxy.set_trap("request", b"\r\ncomplete\r\n", "hang", then=kill)


def let_expire(redis_url: str, key: str, limit_s: float) -> None:
    """Asserts the key's remaining lifetime, and expires it now."""
    with Redis.from_url(redis_url) as client:
        assert 0 < client.pttl(key) <= limit_s * 1000
        client.pexpire(key, 1)
        await_that("expired", lambda: not client.exists(key))
