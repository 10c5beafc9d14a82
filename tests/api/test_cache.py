"""The response cache: hits without PostgreSQL, and never an answer older than one's own write."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import httpx
import pytest
from redis import Redis

from finpay.gate import redis_keys
from tests.api.assertions import TRANSACTIONS, problem, transaction
from tests.api_process import Api, User

ACCOUNT: Final = "/accounts"
HISTORY: Final = "/transactions"


def cached_fields(valkey: Redis, user: User) -> dict[str, bytes]:
    """The user's cache: variants `v:…`, write markers `w:…`, generation and sequence."""
    found: Any = valkey.hgetall(redis_keys.cache(user.user_id))
    return {name.decode(): value for name, value in found.items()}


def variants(valkey: Redis, user: User) -> list[str]:
    return [name for name in cached_fields(valkey, user) if name.startswith("v:")]


def expire(valkey: Redis, user: User) -> None:
    """Expires what is cached for this user, as after ten seconds."""
    for name, value in cached_fields(valkey, user).items():
        if name.startswith("v:"):
            ends_ms = re.search(rb"(?<= )\d{13}(?= )", value)
            assert ends_ms is not None, "a variant contains its expiry"
            assert int(ends_ms[0]) <= time.time() * 1000 + 10_000
            ended = value[: ends_ms.start()] + b"1" + value[ends_ms.end() :]
            valkey.hset(redis_keys.cache(user.user_id), name, ended)


@asynccontextmanager
async def locked(database_url: str, tables: str) -> AsyncIterator[None]:
    """Locks these tables, so that they can't be read in the block."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def answers(user: User, path: str, **params: Any) -> int | None:
    """The status of a read; None if it got no answer within 0.5 s."""
    headers = {"Authorization": f"Bearer {user.token}"}
    async with httpx.AsyncClient(trust_env=False, timeout=0.5) as http:
        try:
            url = user_url(user, path)
            return (await http.get(url, params=params, headers=headers)).status_code
        except httpx.ReadTimeout:
            return None


def user_url(user: User, path: str) -> str:
    return f"{user.client.base_url}/api/v1{path}"


class TestHit:
    @pytest.mark.contract("1.9.1")
    async def test_needs_no_postgresql(self, api: Api, database_url: str) -> None:
        user = api.user(100)
        reads: list[tuple[str, dict[str, Any]]] = [
            (ACCOUNT, {}), (HISTORY, {}), (HISTORY, {"status": "completed", "limit": 5}),
        ]  # fmt: skip
        first = [user.get(path, **params).body for path, params in reads]
        async with locked(database_url, "ledger.accounts, identity.sessions"):
            for path, params in reads:
                assert await answers(user, path, **params) == 200
            # Uncached reads wait for the lock, so this test would notice a read.
            assert await answers(user, "/accounts/entries") is None
            assert await answers(user, HISTORY, limit=6) is None
        assert [user.get(path, **params).body for path, params in reads] == first

    def test_has_the_body_and_headers_of_the_first_answer(self, api: Api) -> None:
        user, other = api.user(100), api.user()
        for number in range(3):
            assert user.send(other, 1, f"link-{number}").status == 201
        first, second = (user.get(HISTORY, limit=2, status="completed") for _ in range(2))
        assert second.body == first.body
        assert second.headers["Content-Type"] == "application/json"
        assert second.headers["Link"] == first.headers["Link"]
        assert second.headers["X-Request-Id"] != first.headers["X-Request-Id"]
        assert second.headers["Cache-Control"] == "no-store"

    def test_is_per_query_in_any_order_of_parameters(self, api: Api, valkey: Redis) -> None:
        user, other = api.user(100), api.user()
        assert user.send(other, 7, "variant").status == 201
        all_, sent, received, none = (
            [step["amount"] for step in user.get(HISTORY, **query).json()["data"]]
            for query in ({}, {"direction": "sent"}, {"direction": "received"}, {"amount_min": 101})
        )
        assert (all_, sent, received, none) == ([7, 100], [7], [100], [])
        assert len(variants(valkey, user)) == 4
        user.get(HISTORY, limit=5, status="failed")
        user.get(HISTORY, status="failed", limit=5)
        assert len(variants(valkey, user)) == 5
        head = user.client.request("HEAD", f"/api/v1{HISTORY}")
        assert (head.status, head.body) == (200, b"")
        assert [step["amount"] for step in user.get(HISTORY).json()["data"]] == all_


class TestStored:
    @pytest.mark.contract("1.9.1")
    def test_at_most_16_variants(self, api: Api, valkey: Redis) -> None:
        user = api.user(100)
        for limit in range(1, 41):
            assert len(user.get(HISTORY, limit=limit).json()["data"]) == 1
            assert len(variants(valkey, user)) <= 16
        assert len(variants(valkey, user)) >= 1

    @pytest.mark.contract("1.9.1")
    def test_never_a_page_with_a_cursor_nor_entries_nor_one_transaction(
        self, api: Api, valkey: Redis
    ) -> None:
        user, other = api.user(100), api.user()
        made = transaction(user.send(other, 1, "no-cursor"), 201)
        page = user.get(HISTORY, limit=1).json()
        before = variants(valkey, user)
        assert user.get(HISTORY, limit=1, cursor=page["next_cursor"]).status == 200
        assert user.get(f"{HISTORY}/{made['id']}").status == 200
        assert user.get("/accounts/entries").status == 200
        assert user.get("/auth/me").status == 200
        assert variants(valkey, user) == before

    def test_is_never_a_refusal(self, api: Api, valkey: Redis) -> None:
        user = api.user()
        problem(user.get(HISTORY, limit=0), 422, "validation_failed")
        problem(user.get(f"{HISTORY}/txn_01h455vb4pex5vsknk084sn02q"), 404, "not_found")
        assert variants(valkey, user) == []

    @pytest.mark.contract("1.9.1")
    def test_expires_after_10_seconds(self, api: Api, valkey: Redis) -> None:
        """Writes by others, here by an operator, are visible within that time."""
        user = api.user(100)
        assert (user.balance, len(user.get(HISTORY).json()["data"])) == (100, 1)
        api.fund(user, 11)
        assert user.balance in {100, 111}
        expire(valkey, user)
        assert user.balance == 111
        assert [step["amount"] for step in user.get(HISTORY).json()["data"]] == [11, 100]

    def test_is_nothing_while_a_write_may_be_in_progress(self, api: Api, valkey: Redis) -> None:
        """With the write marker of an unknown outcome."""
        user = api.user(100)
        assert user.balance == 100
        name = redis_keys.cache(user.user_id)
        ends_ms = int(time.time() * 1000) + redis_keys.WRITE_MARKER_TTL_MS
        valkey.hset(name, mapping={"w:unknown": ends_ms, "gen": "unknown"})
        before = variants(valkey, user)
        api.fund(user, 11)
        assert user.balance == 111  # so it was not served from the cache
        assert len(user.get(HISTORY).json()["data"]) == 2
        assert variants(valkey, user) == before  # nor stored
        valkey.hset(name, "w:unknown", 1)  # the marker has expired, and every variant before it
        expire(valkey, user)
        assert user.balance == 111
        assert len(user.get(HISTORY).json()["data"]) == 2
        assert len(variants(valkey, user)) == 2


class TestWrite:
    @pytest.mark.contract("1.9.3")
    def test_shows_at_once_to_both_sides(self, api: Api) -> None:
        sender, receiver = api.user(100), api.user()
        for number in range(1, 6):
            for user in (sender, receiver):  # so that there is something old to serve
                user.get(ACCOUNT)
                user.get(HISTORY)
            made = transaction(sender.send(receiver, 1, f"both-{number}"), 201)
            assert (sender.balance, receiver.balance) == (100 - number, number)
            for user in (sender, receiver):
                assert user.get(HISTORY).json()["data"][0]["id"] == made["id"]

    def test_that_failed_shows_at_once_too(self, api: Api) -> None:
        user, other = api.user(100), api.user()
        user.get(HISTORY)
        refused = problem(user.send(other, 101, "failed"), 402, "insufficient_funds")
        assert user.get(HISTORY).json()["data"][0]["id"] == refused["transaction_id"]

    def test_leaves_no_mark_behind(self, api: Api, valkey: Redis) -> None:
        user, other = api.user(100), api.user()
        for key, amount in (("done", 1), ("done", 1), ("failed", 101), ("done", 2)):
            user.send(other, amount, key)
        problem(user.send(user, 1, "self"), 422, "same_account")
        assert [name for name in cached_fields(valkey, user) if name.startswith("w:")] == []
        assert user.balance == 99
        assert variants(valkey, user) != []

    @pytest.mark.contract("1.9.2")
    async def test_of_unknown_outcome_stops_caching(
        self, api: Api, database_url: str, valkey: Redis
    ) -> None:
        user, other = api.user(100), api.user()
        assert user.balance == 100
        before = variants(valkey, user)
        async with locked(database_url, "ledger.transactions"):
            answer = await asyncio.to_thread(user.send, other, 1, "unknown")
            assert int(answer.headers["Retry-After"]) >= 1
            problem(answer, 503, "unavailable")
        assert [name for name in cached_fields(valkey, user) if name.startswith("w:")] != []
        retried = user.send(other, 1, "unknown")
        assert retried.status == 201
        assert user.get(HISTORY).json()["data"][0]["id"] == retried.json()["id"]
        assert (user.balance, other.balance) == (99, 1)
        assert variants(valkey, user) == before
        api.verify()


class TestUnderConcurrency:
    @pytest.mark.contract("1.9.2")
    async def test_own_writes_are_never_stale(self, serve: Callable[..., Api]) -> None:
        """One user writes over two processes while the same user's other tabs fill the cache."""
        api = serve(FINPAY_WORKERS="2")
        user, other = api.user(1_000), api.user()
        headers = {"Authorization": f"Bearer {user.token}"}
        done = asyncio.Event()

        async def read(http: httpx.AsyncClient) -> None:
            seen = 0
            while not done.is_set():
                account = (await http.get(f"{api.url}/api/v1/accounts", headers=headers)).json()
                assert account["version"] >= seen  # time doesn't run backwards either
                seen = account["version"]
                await http.get(f"{api.url}{TRANSACTIONS}", headers=headers)

        async def write(http: httpx.AsyncClient) -> None:
            for number in range(30):
                sent = await http.post(
                    f"{api.url}{TRANSACTIONS}",
                    json={"receiver_id": other.account_id, "amount": 1},
                    headers=headers | {"X-Idempotency-Key": f"write-{number}"},
                )
                assert sent.status_code == 201
                account, history = await asyncio.gather(
                    http.get(f"{api.url}/api/v1/accounts", headers=headers),
                    http.get(f"{api.url}{TRANSACTIONS}", headers=headers),
                )
                assert account.json()["balance"] == 999 - number == sent.json()["balance_after"]
                assert history.json()["data"][0] == sent.json()
            done.set()

        async with (
            httpx.AsyncClient(trust_env=False, timeout=10) as http,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(4):
                group.create_task(read(http))
            group.create_task(write(http))
