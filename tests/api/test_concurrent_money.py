"""Concurrent transfers over two processes: one effect per key, no lost update, no deadlock."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from redis import Redis

from finpay.client import HttpResponse
from tests.api.load_client import Connection, open_connections, transfer
from tests.api_process import Api, User

pytestmark = pytest.mark.usefixtures("sound")


def statuses(answers: list[HttpResponse]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def outcome(answer: HttpResponse) -> str:
    """`sent 5`, or the error code."""
    members = answer.json()
    return members["code"] if answer.status >= 400 else f"sent {members['amount']}"


class TestOneKey:
    async def test_sent_a_hundred_times_at_once_has_one_effect_and_one_answer(
        self, pair: Api, redis_url: str
    ) -> None:
        alice, bob = pair.user(100), pair.user()
        async with open_connections(pair, 100) as clients:
            for round_ in range(10):
                key = f"one-{round_}"
                answers = await asyncio.gather(*(c.send(alice, bob, key) for c in clients))
                body = self.the_only_answer(answers)
                await self.is_replayed(clients, alice, bob, key, body)
                with Redis.from_url(redis_url) as valkey:
                    valkey.flushall()
                await self.is_replayed(clients, alice, bob, key, body)
        assert (alice.balance, bob.balance) == (90, 10)

    def the_only_answer(self, answers: list[HttpResponse]) -> bytes:
        """The body of the only result; other answers are 409 while it is in progress."""
        assert {outcome(answer) for answer in answers} <= {"sent 1", "request_in_progress"}
        assert all(a.headers["Retry-After"] == "1" for a in answers if a.status == 409)
        results = [answer for answer in answers if answer.status == 201]
        first = [answer for answer in results if "Idempotent-Replayed" not in answer.headers]
        assert len(first) == 1
        assert {answer.body for answer in results} == {first[0].body}
        return first[0].body

    async def is_replayed(
        self, clients: list[Connection], alice: User, bob: User, key: str, body: bytes
    ) -> None:
        """Checks that later requests to each process get the replay."""
        for client in clients[::10]:
            answer = await client.send(alice, bob, key)
            assert (answer.status, answer.body) == (201, body)
            assert answer.headers["Idempotent-Replayed"] == "true"

    @pytest.mark.contract("1.8.7")
    async def test_up_to_the_limit_of_waiting_requests_all_get_the_answer(self, pair: Api) -> None:
        """Over both processes, in ten rounds."""
        alice, bob = pair.user(100), pair.user()
        async with open_connections(pair, 50) as clients:
            for round_ in range(10):
                answers = await asyncio.gather(
                    *(client.send(alice, bob, f"copies-{round_}") for client in clients)
                )
                assert Counter(answer.status for answer in answers) == {201: 50}
                self.the_only_answer(answers)

    async def test_right_after_a_flush_has_one_answer(self, pair: Api, redis_url: str) -> None:
        """Redis is empty, so a hundred concurrent retries are decided by PostgreSQL."""
        alice, bob = pair.user(100), pair.user()
        async with open_connections(pair, 100) as clients:
            first = await clients[0].send(alice, bob, "flushed")
            with Redis.from_url(redis_url) as valkey:
                valkey.flushall()
            answers = await asyncio.gather(*(c.send(alice, bob, "flushed") for c in clients))
        assert {outcome(answer) for answer in answers} <= {"sent 1", "request_in_progress"}
        assert {answer.body for answer in answers if answer.status == 201} == {first.body}
        assert alice.balance == 99

    async def test_of_two_different_requests_is_used_by_one_of_them(self, pair: Api) -> None:
        alice, bob = pair.user(1_000), pair.user()
        async with open_connections(pair, 20) as clients:
            for round_ in range(20):
                before = alice.balance
                answers = await asyncio.gather(
                    *(
                        client.send(alice, bob, f"rival-{round_}", 1 + n % 2)
                        for n, client in enumerate(clients)
                    )
                )
                outcomes = {outcome(answer) for answer in answers}
                sent = outcomes & {"sent 1", "sent 2"}
                assert len(sent) == 1, outcomes
                assert outcomes - sent <= {"request_in_progress", "idempotency_key_reuse"}
                assert f"sent {before - alice.balance}" in sent


async def test_of_200_transfers_from_a_balance_of_100_exactly_100_succeed(pair: Api) -> None:
    sender, receivers = pair.user(100), [pair.user(), pair.user()]
    async with open_connections(pair, 200) as clients:
        answers = await asyncio.gather(
            *(c.send(sender, receivers[n % 2], f"drain-{n}") for n, c in enumerate(clients))
        )
    assert Counter(map(outcome, answers)) == {"sent 1": 100, "insufficient_funds": 100}
    assert sender.balance == 0
    assert sum(receiver.balance for receiver in receivers) == 100
    left = sorted(answer.json()["balance_after"] for answer in answers if answer.status == 201)
    assert left == list(range(100))  # each saw a different balance
    failed = [step.id for step in sender.client.transactions(status="failed", limit=100)]
    assert len(set(failed)) == len(failed) == 100


async def test_64_clients_that_pay_each_other_never_deadlock(pair: Api) -> None:
    users = [pair.user(1_000) for _ in range(4)]
    chance = Random(4)  # what matters is the order of accounts in the batches

    async def pay(client: Connection, number: int) -> list[HttpResponse]:
        answers = []
        for step in range(15):
            among = users if number % 2 else users[:2]  # half of them only A→B and B→A
            sender, receiver = chance.sample(among, 2)
            answers.append(await client.send(sender, receiver, f"{number}-{step}", 1 + step))
        return answers

    async with open_connections(pair, 64) as clients:
        done = await asyncio.gather(*(pay(client, n) for n, client in enumerate(clients)))
    outcomes = statuses([answer for answers in done for answer in answers])
    assert outcomes.keys() <= {201, 402}
    assert outcomes.total() == 64 * 15
    assert outcomes[201] > outcomes[402]
    assert sum(user.balance for user in users) == 4_000


async def test_64_concurrent_senders_to_one_receiver_all_succeed(pair: Api) -> None:
    senders, hot = [pair.user(100) for _ in range(8)], pair.user()

    async def pay(client: Connection, number: int) -> list[HttpResponse]:
        return [await client.send(senders[number % 8], hot, f"{number}-{n}") for n in range(8)]

    async with open_connections(pair, 64) as clients:
        done = await asyncio.gather(*(pay(client, n) for n, client in enumerate(clients)))
    assert statuses([answer for answers in done for answer in answers]) == {201: 512}
    assert hot.balance == 512
    entries = [entry.balance_after for entry in hot.client.entries(limit=100)]
    assert entries == list(range(512, 0, -1))  # no update was lost


@pytest.mark.contract("2.2.4")
async def test_disconnected_clients_leave_no_lock_and_their_retries_get_one_effect(
    pair: Api,
) -> None:
    sender, receiver = pair.user(1_000), pair.user()
    chance = Random(200)
    keys = [f"gone-{number}" for number in range(200)]
    async with open_connections(pair, 200) as clients:
        vanishing = []
        for key, client in zip(keys, clients, strict=True):
            whole = transfer(sender, receiver, key)
            part = whole if chance.random() < 0.7 else whole[: chance.randrange(len(whole))]
            vanishing.append(client.vanish(part, chance.random() * 0.1))
        await asyncio.gather(*vanishing)
    await nothing_is_stuck(pair)
    made = effects(pair, sender)
    assert 0 < len(made) < 200  # otherwise the test shows nothing

    async with open_connections(pair, 10) as clients:
        answers = {key: await clients[n % 10].send(sender, receiver, key)
                   for n, key in enumerate(keys)}  # fmt: skip
    assert set(map(outcome, answers.values())) == {"sent 1"}
    for key, transaction_id in made.items():
        assert answers[key].headers["Idempotent-Replayed"] == "true"
        assert answers[key].json()["id"] == transaction_id
    assert effects(pair, sender) == {key: a.json()["id"] for key, a in answers.items()}
    assert (sender.balance, receiver.balance) == (800, 200)


def effects(api: Api, user: User) -> Mapping[str, str]:
    """The transaction of each of the user's keys."""
    rows = api.sql(
        "SELECT k.key, ledger.type_id('txn', t.id) AS id FROM ledger.idempotency_keys k "
        "JOIN ledger.accounts a ON a.user_id = k.principal_id "
        "JOIN ledger.transactions t ON t.id = k.transaction_id WHERE a.public_id = $1",
        user.account_id,
    )
    assert len(rows) == len({row["id"] for row in rows})
    return {row["key"]: row["id"] for row in rows}


async def nothing_is_stuck(api: Api) -> None:
    """Within 5 s every connection of the API is idle in three checks in a row: none in a
    transaction, none that waits for a lock."""
    quiet = 0
    busy: list[Any] = []
    for _ in range(100):
        busy = api.sql(
            "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'finpay' AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        quiet = 0 if busy else quiet + 1
        if quiet == 3:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(busy)
