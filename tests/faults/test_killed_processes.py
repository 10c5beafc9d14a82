"""A worker is killed as a crash or the kernel would: SIGKILL, without a last word."""

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
from tests.faults.api_probes import await_new_workers, await_that, locked, truth, workers
from tests.faults.tcp_proxy import Proxy, proxy_before
from tests.load import Payment, load, prove, resolve, send_all

KILLS: Final = 4
REPLACED_S: Final = 10.0
CLAIM_S: Final = 10.0


@pytest.fixture(scope="module")
def proxy(redis_url: str) -> Iterator[tuple[Proxy, str]]:
    with proxy_before(redis_url) as made:
        yield made


@pytest.fixture(scope="module")
def mortal(
    database_url: str, proxy: tuple[Proxy, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """Two workers to be killed, beside `api`, which shares their servers and stays."""
    folder = tmp_path_factory.mktemp("mortal")
    with running_api(folder, database_url, proxy[1], FINPAY_WORKERS="2") as running:
        yield running


@pytest.mark.contract("3.1.5")
def test_workers_killed_under_load_lose_nothing(api: Api, mortal: Api) -> None:
    senders, receiver = [api.user(3_000) for _ in range(3)], api.user()
    dice = random.Random(7)
    with load(mortal, senders, receiver, clients=12, pause_s=0) as running:
        for _ in range(KILLS):
            running.wait_for(10)
            time.sleep(dice.uniform(0, 0.02))  # anywhere between claim and answer
            before = workers(mortal)
            victim = dice.choice(before)
            victim.kill()
            seen = {worker.pid for worker in before}
            await_new_workers(mortal, 1, but=seen, limit_s=REPLACED_S)
        await_that("two workers", lambda: len(workers(mortal)) == 2, REPLACED_S)
        running.wait_for(10)
    interrupted = running.count(0)
    assert interrupted > 0, "some were in flight when it happened"
    assert set(running.counts) == {201, 0}, running.counts
    prove(mortal, running, resolve(mortal, running))


@pytest.mark.contract("1.9.2")
def test_after_a_death_between_commit_and_settle_nothing_is_stale(
    api: Api, mortal: Api, proxy: tuple[Proxy, str], redis_url: str
) -> None:
    alice, bob = api.user(1_000), api.user()
    assert alice.balance == alice.balance == 1_000, "the second time from the cache"
    kill_at_settle(mortal, proxy[0])
    (lost,) = send_all(mortal, [Payment(alice, bob, "unsettled")])
    assert lost.status == 0, "killed before the answer"
    assert truth(api, alice) == 999, "and after the commit"
    assert alice.balance == alice.balance == 999
    assert alice.get("/transactions").json()["data"][0]["amount"] == 1
    assert bob.balance in {0, 1}, "others' writes may take 10 s"
    busy = alice.send(bob, 1, "unsettled")
    assert (busy.status, busy.json()["code"]) == (409, "request_in_progress")
    assert busy.headers["Retry-After"] == "1"
    let_expire(redis_url, redis_keys.idempotency_key(alice.user_id, "unsettled"), CLAIM_S)
    again = alice.send(bob, 1, "unsettled")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert alice.balance == alice.balance == 999
    assert truth(api, bob) == 1
    api.verify()


@pytest.mark.parametrize("evicted", [False, True])
def test_what_was_read_while_a_transfer_waited_is_not_served_after_its_retry(
    api: Api, mortal: Api, proxy: tuple[Proxy, str], redis_url: str, *, evicted: bool
) -> None:
    """Its mark keeps the old balance out of the cache; if Redis evicts that, the retry ends it."""
    alice, bob = api.user(1_000), api.user()
    kill_at_settle(mortal, proxy[0])
    payment = Payment(alice, bob, "forgotten")
    with locked(api, alice) as lock, Redis.from_url(redis_url) as client:
        sending = Thread(target=send_all, args=(mortal, [payment]))
        sending.start()
        lock.await_waiter()
        if evicted:
            client.delete(redis_keys.cache(alice.user_id))
        assert alice.balance == alice.balance == 1_000, "nothing was committed yet"
        lock.release()
        sending.join()
        assert truth(api, alice) == 999
        assert evicted or alice.balance == 999
        client.delete(redis_keys.idempotency_key(alice.user_id, "forgotten"))
    assert alice.send(bob, 1, "forgotten").headers["Idempotent-Replayed"] == "true"
    assert alice.balance == alice.balance == 999


def kill_at_settle(mortal: Api, proxy: Proxy) -> None:
    """The worker whose settle reaches the proxy first dies at that moment; Redis never hears it."""
    await_that("both workers", lambda: len(workers(mortal)) == 2, REPLACED_S)
    await_ready(mortal)  # the last victims' successors may still be on their way
    victims = [worker.pid for worker in workers(mortal)]

    def kill() -> None:
        for pid in victims:
            os.kill(pid, signal.SIGKILL)

    proxy.set_trap("request", b"\r\ncomplete\r\n", "hang", then=kill)


def let_expire(redis_url: str, key: str, limit_s: float) -> None:
    """What is in Redis under this key has at most so long to live, and no more from now on."""
    with Redis.from_url(redis_url) as client:
        assert 0 < client.pttl(key) <= limit_s * 1000
        client.pexpire(key, 1)
        await_that("expired", lambda: not client.exists(key))
