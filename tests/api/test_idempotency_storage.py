"""Storage of answers: refusals for ever, in PostgreSQL first, and only answers of the ledger.

DESIGN §3.3 step 3, requirements I5 and I6.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from finpay.client import HttpResponse
from finpay.db.pool import Database
from finpay.gate import redis_keys
from tests.api.assertions import UNKNOWN_ACCOUNT, post, problem, replays, transaction
from tests.api_process import PASSWORD, Api, User


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(1_000_000)


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user()


def claim_name(user: User, key: str) -> str:
    return redis_keys.idempotency_key(user.user_id, key)


def listed(user: User, key: str) -> list[str]:
    """The ids of the user's transactions with this key."""
    page = user.get("/transactions", idempotency_key=key).json()
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    return [step["id"] for step in page["data"]]


class TestRefusals:
    @pytest.mark.contract("1.8.8")
    def test_for_lack_of_funds_is_final(self, api: Api, bob: User) -> None:
        poor = api.user()
        first = poor.send(bob, 10, "final")
        problem(first, 402, "insufficient_funds")
        api.fund(poor, 10)
        replays(first, poor.send(bob, 10, "final"))
        transaction(poor.send(bob, 10, "new-key"), 201)

    def test_of_an_unknown_receiver_is_final_even_if_the_receiver_registers_later(
        self, api: Api, alice: User
    ) -> None:
        asked = b'{"receiver_email":"later@example.com","amount":1}'
        first = post(alice, asked, X_Idempotency_Key="later")
        problem(first, 404, "receiver_not_found")
        api.client().register("later@example.com", PASSWORD)
        replays(first, post(alice, asked, X_Idempotency_Key="later"))
        transaction(post(alice, asked, X_Idempotency_Key="later-2"), 201)


@pytest.mark.contract("1.8.8")
@pytest.mark.parametrize("status", [201, 402, 404, 422])
def test_after_a_flush_the_answer_is_read_from_postgresql_and_stored_in_redis(
    alice: User, bob: User, valkey: Redis, status: int
) -> None:
    receiver_id = {404: UNKNOWN_ACCOUNT, 422: alice.account_id}.get(status, bob.account_id)
    amount = 10**15 if status == 402 else 5
    asked = f'{{"receiver_id":"{receiver_id}","amount":{amount}}}'.encode()
    key = f"flushed-{status}"
    first = post(alice, asked, X_Idempotency_Key=key)
    assert first.status == status
    stored = valkey.get(claim_name(alice, key))
    assert isinstance(stored, bytes)
    assert stored.endswith(first.body)
    balance = alice.balance
    valkey.flushall()
    replays(first, post(alice, asked, X_Idempotency_Key=key))
    assert valkey.get(claim_name(alice, key)) == stored
    replays(first, post(alice, asked, X_Idempotency_Key=key))
    assert alice.balance == balance


class TestInProgress:
    @pytest.mark.contract("1.8.7")
    def test_a_claimed_key_is_409_for_any_request(
        self, alice: User, bob: User, valkey: Redis
    ) -> None:
        name = claim_name(alice, "claimed")
        valkey.set(name, "Csomebody-else", px=redis_keys.CLAIM_TTL_MS)
        for amount in (5, 6):
            answer = alice.send(bob, amount, "claimed")
            problem(answer, 409, "request_in_progress")
            assert answer.headers["Retry-After"] == "1"
        assert valkey.get(name) == b"Csomebody-else"  # only its owner may release it
        assert listed(alice, "claimed") == []
        valkey.delete(name)
        first = alice.send(bob, 5, "claimed")
        transaction(first, 201)
        replays(first, alice.send(bob, 5, "claimed"))

    @pytest.mark.contract("1.8.7")
    async def test_a_request_in_flight_claims_its_key_for_10_seconds_at_most(
        self, database_url: str, alice: User, bob: User, valkey: Redis
    ) -> None:
        name = claim_name(alice, "in-flight")
        owner = Database(database_url, size=1, role="finpay_owner")
        with ThreadPoolExecutor(1) as thread:
            async with owner.transaction() as transaction_:
                await transaction_.execute(
                    "SELECT FROM ledger.accounts WHERE public_id = $1 FOR UPDATE", alice.account_id
                )
                sent = thread.submit(alice.send, bob, 5, "in-flight")
                while valkey.get(name) is None:
                    await asyncio.sleep(0.01)
                assert 0 < int(str(valkey.pttl(name))) <= 10_000
                answers = await asyncio.gather(
                    *(asyncio.to_thread(alice.send, bob, amount, "in-flight") for amount in (5, 6))
                )
                for answer in answers:
                    problem(answer, 409, "request_in_progress")
            first: HttpResponse = await asyncio.to_thread(sent.result)
        await owner.close()
        transaction(first, 201)
        replays(first, alice.send(bob, 5, "in-flight"))


class TestNotStored:
    """After each of these the key is unused: the corrected request is executed, once."""

    def then_it_executes_once(self, user: User, receiver: User, key: str) -> None:
        assert listed(user, key) == []
        balance = user.balance
        first = user.send(receiver, 5, key)
        made = transaction(first, 201)
        replays(first, user.send(receiver, 5, key))
        assert user.balance == balance - 5
        assert listed(user, key) == [made["id"]]

    @pytest.mark.contract("1.8.4", "1.8.9")
    @pytest.mark.parametrize(
        ("status", "code", "content"),
        [
            (400, "malformed_json", b'{"amount":'),
            (400, "malformed_json", b'{"amount":5,"amount":5}'),
            (413, "body_too_large", b" " * 65_537),
            (422, "validation_failed", b'{"amount":5.0}'),
        ],
    )
    def test_a_faulty_body(
        self, alice: User, bob: User, status: int, code: str, content: bytes
    ) -> None:
        key = f"free-{status}-{len(content)}"
        problem(post(alice, content, X_Idempotency_Key=key), status, code)
        self.then_it_executes_once(alice, bob, key)

    @pytest.mark.contract("1.8.9")
    def test_a_body_of_another_type(self, alice: User, bob: User) -> None:
        answer = post(alice, b"a=b", X_Idempotency_Key="free-type", Content_Type="text/plain")
        problem(answer, 415, "unsupported_media_type")
        self.then_it_executes_once(alice, bob, "free-type")

    def test_a_request_without_a_login(self, alice: User, bob: User) -> None:
        asked = f'{{"receiver_id":"{bob.account_id}","amount":5}}'.encode()
        for bearer in ("Bearer x.y.z", f"Bearer {alice.token}x", "Basic YTpi", ""):
            answer = post(alice, asked, X_Idempotency_Key="free-login", Authorization=bearer)
            problem(answer, 401, "unauthenticated")
            assert "WWW-Authenticate" in answer.headers
        self.then_it_executes_once(alice, bob, "free-login")

    @pytest.mark.contract("1.8.9")
    def test_a_request_over_the_limit(
        self, serve: Callable[..., Api], bob: User, valkey: Redis
    ) -> None:
        limited = serve(FINPAY_RATE_LIMIT_TRANSACTION="1/60")
        user = limited.user(100)
        transaction(user.send(bob, 5, "within"), 201)
        answer = user.send(bob, 5, "free-limit")
        assert problem(answer, 429, "rate_limited")["policy"] == "transaction"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        problem(user.send(bob, 5, "within"), 429, "rate_limited")  # a replay counts too
        valkey.delete(redis_keys.user_limit(user.user_id, "transaction"))
        transaction(user.send(bob, 5, "free-limit"), 201)
        assert listed(user, "free-limit") != []
        assert user.balance == 90


class TestLookup:
    def test_finds_the_completed_or_failed_transaction_of_a_key_and_no_other(
        self, api: Api, bob: User
    ) -> None:
        user = api.user(10)
        made: dict[str, str] = {}
        for key, amount in (("a", 1), ("b", 99), ("c", 2), ("d", 98), ("e", 97), ("f", 3)):
            answer = user.send(bob, amount, key)
            members = answer.json()
            made[key] = members["id"] if answer.status == 201 else members["transaction_id"]
        assert {key: listed(user, key) for key in made} == {key: [made[key]] for key in made}

    def test_finds_nothing_under_a_key_without_a_transaction(self, alice: User) -> None:
        problem(alice.send(alice, 5, "lookup-refused"), 422, "same_account")
        assert listed(alice, "lookup-refused") == []
        assert listed(alice, "never-used") == []

    @pytest.mark.contract("1.3.4")
    def test_finds_only_transactions_of_the_caller(self, alice: User, bob: User) -> None:
        made = transaction(alice.send(bob, 5, "lookup"), 201)
        assert listed(alice, "lookup") == [made["id"]]
        assert listed(bob, "lookup") == []
        own = transaction(bob.send(alice, 1, "lookup"), 201)
        assert listed(bob, "lookup") == [own["id"]]
        assert listed(alice, "lookup") == [made["id"]]

    def test_accepts_every_character_of_a_key(self, alice: User, bob: User) -> None:
        for key in ("".join(map(chr, range(0x21, 0x7F))), "k" * 255):
            made = transaction(alice.send(bob, 5, key), 201)
            assert listed(alice, key) == [made["id"]]

    def test_combines_with_the_other_filters(self, alice: User, bob: User) -> None:
        made = transaction(alice.send(bob, 5, "lookup-and"), 201)
        for direction, found in (("sent", [made]), ("received", [])):
            page = alice.get("/transactions", idempotency_key="lookup-and", direction=direction)
            assert page.json()["data"] == found


def test_the_ledger_verifies_after_these_tests(api: Api) -> None:
    api.verify()
