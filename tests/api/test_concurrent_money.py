"""Money under many hands at once, over two processes: requirements C1 to C6, M5 and F2."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from random import Random
from typing import Any, Final

import httpx
import pytest
from redis import Redis

from tests.api.contract import TRANSACTIONS
from tests.apis import Api, User

SLOWEST_S: Final = 5.0  # no request may take longer, however hot the account


@pytest.fixture(scope="module")
def pair(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """One API of two processes for all tests of this file."""
    from tests.apis import running_api

    folder = tmp_path_factory.mktemp("pair")
    with running_api(folder, database_url, redis_url, FINPAY_WORKERS="2") as api:
        yield api


@pytest.fixture
async def http(pair: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Many connections, so that both processes get their share."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(
        base_url=pair.url, trust_env=False, timeout=2 * SLOWEST_S, limits=limits
    ) as client:
        yield client


@pytest.fixture(autouse=True)
def sound(pair: Api) -> Iterator[None]:
    """Whatever happened: no deadlock, no batch that had to be tried again, a ledger that adds up."""
    before = troubles(pair)
    yield
    assert troubles(pair) == before
    pair.verify()


def troubles(api: Api) -> tuple[int, list[str]]:
    deadlocks = api.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    metrics = httpx.get(f"{api.url}/metrics", trust_env=False).text
    retries = [line for line in metrics.splitlines()
               if line.startswith("finpay_ledger_batch_retries_total")]  # fmt: skip
    return int(deadlocks[0]["deadlocks"]), retries


async def send(
    http: httpx.AsyncClient, sender: User, receiver: User, key: str, amount: int = 1
) -> httpx.Response:
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer = await http.post(
        TRANSACTIONS,
        json={"receiver_id": receiver.account_id, "amount": amount},
        headers={"Authorization": f"Bearer {sender.token}", "X-Idempotency-Key": key},
    )
    assert loop.time() - started < SLOWEST_S
    return answer


class TestOneKey:
    async def test_a_hundred_times_at_once_has_one_effect_and_one_answer(
        self, pair: Api, http: httpx.AsyncClient, redis_url: str
    ) -> None:
        alice, bob = pair.user(100), pair.user()
        for round_ in range(5):
            key = f"one-{round_}"
            answers = await asyncio.gather(*(send(http, alice, bob, key) for _ in range(100)))
            statuses = Counter(answer.status_code for answer in answers)
            assert statuses.keys() <= {201, 409}, statuses
            bodies = {answer.content for answer in answers if answer.status_code == 201}
            assert len(bodies) == 1
            for answer in answers:
                if answer.status_code == 409:
                    assert answer.json()["code"] == "request_in_progress"
                    assert answer.headers["Retry-After"] == "1"
            first = [a for a in answers
                     if a.status_code == 201 and "Idempotent-Replayed" not in a.headers]  # fmt: skip
            assert len(first) == 1
            await self.replays_everywhere(http, alice, bob, key, bodies.pop())
            with Redis.from_url(redis_url) as valkey:
                valkey.flushall()
            await self.replays_everywhere(http, alice, bob, key, first[0].content)
            assert (alice.balance, bob.balance) == (99 - round_, round_ + 1)

    async def replays_everywhere(
        self, http: httpx.AsyncClient, alice: User, bob: User, key: str, body: bytes
    ) -> None:
        """One after the other, as later ones come: the bytes, from whichever process."""
        for _ in range(8):
            answer = await send(http, alice, bob, key)
            assert (answer.status_code, answer.content) == (201, body)
            assert answer.headers["Idempotent-Replayed"] == "true"

    async def test_for_two_different_requests_lets_one_of_them_win(
        self, pair: Api, http: httpx.AsyncClient
    ) -> None:
        alice, bob = pair.user(1_000), pair.user()
        for round_ in range(10):
            before = alice.balance
            answers = await asyncio.gather(
                *(send(http, alice, bob, f"rival-{round_}", amount=1 + n % 2) for n in range(20))
            )
            told = Counter(
                "409" if answer.status_code == 409
                else answer.json().get("code") or f"sent {answer.json()['amount']}"
                for answer in answers
            )  # fmt: skip
            won = [amount for amount in (1, 2) if told[f"sent {amount}"]]
            assert len(won) == 1, told
            assert set(told) <= {"409", f"sent {won[0]}", "idempotency_key_reuse"}, told
            assert alice.balance == before - won[0]


async def test_of_200_transfers_from_a_balance_of_100_exactly_100_succeed(
    pair: Api, http: httpx.AsyncClient
) -> None:
    sender, receivers = pair.user(100), [pair.user() for _ in range(2)]
    answers = await asyncio.gather(
        *(send(http, sender, receivers[n % 2], f"drain-{n}") for n in range(200))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 100, 402: 100}
    assert {a.json()["code"] for a in answers if a.status_code == 402} == {"insufficient_funds"}
    assert sender.balance == 0
    assert sum(receiver.balance for receiver in receivers) == 100
    left = sorted(a.json()["balance_after"] for a in answers if a.status_code == 201)
    assert left == list(range(100))  # each saw a balance of its own
    failed = sender.client.transactions(status="failed", limit=100)
    assert len({step.id for step in failed}) == 100


async def test_64_clients_who_pay_each_other_never_deadlock(
    pair: Api, http: httpx.AsyncClient
) -> None:
    users = [pair.user(1_000) for _ in range(4)]
    chance = Random(4)  # the order of accounts is what matters, and it is always this one

    async def client(number: int) -> list[int]:
        statuses = []
        for step in range(10):
            sender, receiver = chance.sample(users if number % 2 else users[:2], 2)
            answer = await send(http, sender, receiver, f"cross-{number}-{step}", 1 + step)
            statuses.append(answer.status_code)
        return statuses

    statuses = [status for done in await asyncio.gather(*map(client, range(64))) for status in done]
    assert set(statuses) <= {201, 402}
    assert statuses.count(201) > 600
    assert sum(user.balance for user in users) == 4_000


async def test_a_hot_receiver_takes_from_everybody(pair: Api, http: httpx.AsyncClient) -> None:
    senders, hot = [pair.user(50) for _ in range(8)], pair.user()
    answers = await asyncio.gather(
        *(send(http, senders[n % 8], hot, f"hot-{n}") for n in range(400))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 400}
    assert hot.balance == 400
    entries = [entry.balance_after for entry in hot.client.entries(limit=100)]
    assert entries == list(range(400, 0, -1))


class TestDisconnects:
    async def test_leave_nothing_stuck_and_the_retry_tells_what_happened(
        self, pair: Api, http: httpx.AsyncClient
    ) -> None:
        sender, receiver = pair.user(1_000), pair.user()
        chance = Random(200)
        await asyncio.gather(
            *(self.vanish(pair, sender, receiver, f"gone-{n}", chance.random()) for n in range(200))
        )
        await nothing_is_stuck(pair)
        made = effects(pair, sender)
        assert sender.balance == 1_000 - len(made)
        # Some were done and some were not, or this shows nothing.
        assert 0 < len(made) < 200
        answers = {f"gone-{n}": await send(http, sender, receiver, f"gone-{n}") for n in range(200)}
        for key, answer in answers.items():
            assert answer.status_code == 201
            assert ("Idempotent-Replayed" in answer.headers) is (key in made)
            assert answer.json()["id"] == made.get(key, answer.json()["id"])
        assert effects(pair, sender) == {key: a.json()["id"] for key, a in answers.items()}
        assert (sender.balance, receiver.balance) == (800, 200)

    async def vanish(self, api: Api, sender: User, receiver: User, key: str, chance: float) -> None:
        """Sends a request, or only its beginning, and is gone after a moment."""
        content = f'{{"receiver_id":"{receiver.account_id}","amount":1}}'.encode()
        head = (
            f"POST {TRANSACTIONS} HTTP/1.1\r\nHost: finpay.test\r\n"
            f"Authorization: Bearer {sender.token}\r\nContent-Type: application/json\r\n"
            f"X-Idempotency-Key: {key}\r\nContent-Length: {len(content)}\r\n\r\n"
        ).encode()
        whole = head + content
        sent = whole if chance > 0.3 else whole[: int(len(whole) * chance / 0.3)]
        _, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
        writer.write(sent)
        await writer.drain()
        await asyncio.sleep(chance * 0.05)  # the moment is the test, not a wait for something
        writer.transport.abort()


def effects(api: Api, user: User) -> Mapping[str, str]:
    """The transaction of each of the user's keys."""
    rows = api.sql(
        "SELECT k.key, ledger.type_id('txn', k.transaction_id) AS id FROM ledger.idempotency_keys k "
        "JOIN ledger.accounts a ON a.user_id = k.principal_id "
        "JOIN ledger.transactions t ON t.id = k.transaction_id WHERE a.public_id = $1",
        user.account_id,
    )
    assert len(rows) == len({row["id"] for row in rows})
    return {row["key"]: row["id"] for row in rows}


async def nothing_is_stuck(api: Api) -> None:
    """No connection of the API is in a transaction, and soon: nobody is left to wait for."""
    busy: list[Any] = []
    for _ in range(100):
        busy = api.sql(
            "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'finpay' AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        if not busy:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(busy)
