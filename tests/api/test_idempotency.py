"""One key, one effect, one answer: replays, reuse, and the format of a key."""

from collections.abc import Mapping
from random import Random

import httpx
import pytest
from redis import Redis

from finpay.client import HttpResponse
from tests.api.assertions import TRANSACTIONS, UNKNOWN_ACCOUNT, post, problem, replays, transaction
from tests.api_process import PASSWORD, Api, User


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(1_000_000)


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user()


def body(receiver: User, amount: int = 5) -> bytes:
    return f'{{"receiver_id":"{receiver.account_id}","amount":{amount}}}'.encode()


class TestReplay:
    @pytest.mark.contract("1.8.5")
    def test_is_the_first_answer_byte_for_byte(self, alice: User, bob: User) -> None:
        first = alice.send(bob, 7, "replay", description="é%s", metadata={"b": "1", "a": "2"})
        transaction(first, 201)
        balance = alice.balance
        for _ in range(3):
            retry = alice.send(bob, 7, "replay", description="é%s", metadata={"b": "1", "a": "2"})
            replays(first, retry)
        assert alice.balance == balance

    def test_is_equal_for_a_hundred_random_requests(self, alice: User, bob: User) -> None:
        chance = Random(7)  # always the same requests
        receivers = [bob.account_id, alice.account_id, UNKNOWN_ACCOUNT]
        sent = [
            (
                f"random-{n}",
                {
                    "receiver_id": chance.choice(receivers),
                    "amount": chance.choice([1, 10, 10**15]),
                    "description": chance.choice([None, "", "%s", "x" * 500]),
                },
            )
            for n in range(100)
        ]
        first = [self._send(alice, *request) for request in sent]
        assert {answer.status for answer in first} == {201, 402, 404, 422}
        balance = alice.balance
        for answer, request in zip(first, sent, strict=True):
            replays(answer, self._send(alice, *request))
        assert alice.balance == balance

    def _send(self, user: User, key: str, members: Mapping[str, object]) -> HttpResponse:
        answer: HttpResponse = user.client.request(
            "POST", TRANSACTIONS, json=members, headers={"X-Idempotency-Key": key}
        )
        return answer

    @pytest.mark.contract("1.8.3")
    def test_ignores_white_space_escapes_and_the_order_of_members(
        self, alice: User, bob: User
    ) -> None:
        to = f'"receiver_id":"{bob.account_id}"'
        plain = f'{{{to},"amount":5,"metadata":{{"a":"1","b":"2"}}}}'
        first = post(alice, plain.encode(), X_Idempotency_Key="order")
        transaction(first, 201)
        for same in (
            f' {{ "amount" : 5 ,\n\t"metadata":{{"b":"2","a":"1"}}, {to} }}\r\n',
            f'{{"metadata":{{"\\u0061":"\\u0031","b":"2"}},{to},"\\u0061mount":5}}',
        ):
            replays(first, post(alice, same.encode(), X_Idempotency_Key="order"))

    def test_is_the_same_on_the_path_with_a_trailing_slash(self, alice: User, bob: User) -> None:
        first = alice.send(bob, 5, "slash")
        retry = alice.client.request(
            "POST", f"{TRANSACTIONS}/", content=body(bob), headers={"X-Idempotency-Key": "slash"}
        )
        replays(first, retry)

    def test_is_the_same_for_another_session_of_the_user(
        self, api: Api, alice: User, bob: User
    ) -> None:
        first = alice.send(bob, 5, "sessions")
        other = api.client()
        other.login(alice.email, PASSWORD)
        retry = other.request(
            "POST", TRANSACTIONS, content=body(bob), headers={"X-Idempotency-Key": "sessions"}
        )
        replays(first, retry)

    @pytest.mark.contract("1.8.5")
    def test_has_the_new_request_id_in_the_header_and_the_old_one_in_a_problem(
        self, alice: User, bob: User
    ) -> None:
        over_balance = body(bob, 10**15)
        first = post(alice, over_balance, X_Idempotency_Key="ids", X_Request_Id="first")
        assert problem(first, 402, "insufficient_funds")["request_id"] == "first"
        retry = post(alice, over_balance, X_Idempotency_Key="ids", X_Request_Id="second")
        assert retry.headers["X-Request-Id"] == "second"
        assert problem(retry, 402, "insufficient_funds", replayed=True)["request_id"] == "first"


class TestReuse:
    @pytest.mark.contract("1.8.3", "1.8.6")
    def test_of_a_key_for_another_request_is_refused_without_effect(
        self, api: Api, alice: User, bob: User
    ) -> None:
        to = {"receiver_id": bob.account_id, "amount": 5}
        first = alice.send(bob, 5, "reuse")
        balance = alice.balance
        for changed in (
            to | {"amount": 6},
            to | {"currency": "ZAR"},
            to | {"description": ""},
            to | {"description": None},
            to | {"metadata": {}},
            to | {"metadata": {"a": "b"}},
            to | {"receiver_id": api.user().account_id},
            to | {"receiver_id": UNKNOWN_ACCOUNT},
            {"receiver_email": bob.email, "amount": 5},
        ):
            answer = alice.client.request(
                "POST", TRANSACTIONS, json=changed, headers={"X-Idempotency-Key": "reuse"}
            )
            problem(answer, 422, "idempotency_key_reuse")
        assert alice.balance == balance
        replays(first, alice.send(bob, 5, "reuse"))

    def test_is_refused_after_a_flush_of_redis(self, alice: User, bob: User, valkey: Redis) -> None:
        first = alice.send(bob, 5, "reuse-flushed")
        for _ in range(2):  # decided by the ledger, then by Redis
            valkey.flushall()
            problem(alice.send(bob, 6, "reuse-flushed"), 422, "idempotency_key_reuse")
            problem(alice.send(bob, 6, "reuse-flushed"), 422, "idempotency_key_reuse")
            replays(first, alice.send(bob, 5, "reuse-flushed"))

    def test_of_the_key_of_a_refused_request_is_refused(self, alice: User, bob: User) -> None:
        problem(alice.send(bob, 10**15, "reuse-refused"), 402, "insufficient_funds")
        problem(alice.send(bob, 1, "reuse-refused"), 422, "idempotency_key_reuse")


class TestKey:
    @pytest.mark.contract("1.8.1")
    def test_is_required(self, alice: User, bob: User) -> None:
        balance = alice.balance
        problem(post(alice, body(bob)), 400, "idempotency_key_missing")
        assert alice.balance == balance

    @pytest.mark.contract("1.8.1")
    @pytest.mark.parametrize("key", ["k", "k" * 255, "!", "~", "a,b", "A/b:c{d}%20'", '"'])
    def test_has_1_to_255_visible_characters(self, alice: User, bob: User, key: str) -> None:
        first = alice.send(bob, 1, key)
        transaction(first, 201)
        replays(first, alice.send(bob, 1, key))

    @pytest.mark.parametrize(
        "key", ["", '""', "k" * 256, f'"{"k" * 256}"', "a b", "a\tb", '" "', "a, a"]
    )
    def test_in_another_format_is_refused(self, alice: User, bob: User, key: str) -> None:
        balance = alice.balance
        for name in ("X_Idempotency_Key", "Idempotency_Key"):
            problem(post(alice, body(bob), **{name: key}), 400, "idempotency_key_invalid")
        assert alice.balance == balance

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
    def test_is_ascii(self, api: Api, alice: User, bob: User, encoding: str) -> None:
        headers = {
            b"Authorization": f"Bearer {alice.token}".encode(),
            b"Content-Type": b"application/json",
            b"X-Idempotency-Key": "clé".encode(encoding),
        }
        answer = httpx.post(
            f"{api.url}{TRANSACTIONS}", content=body(bob), headers=headers, trust_env=False
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")

    @pytest.mark.contract("1.8.1")
    def test_may_be_quoted_and_in_either_header(self, alice: User, bob: User) -> None:
        first = alice.send(bob, 5, "quoted")
        for headers in (
            {"X_Idempotency_Key": '"quoted"'},
            {"Idempotency_Key": "quoted"},
            {"Idempotency_Key": '"quoted"'},
            {"X_Idempotency_Key": "quoted", "Idempotency_Key": '"quoted"'},
        ):
            replays(first, post(alice, body(bob), **headers))
        longest = "q" * 255
        first = post(alice, body(bob), X_Idempotency_Key=f'"{longest}"')
        replays(first, post(alice, body(bob), X_Idempotency_Key=longest))

    @pytest.mark.contract("1.8.1")
    def test_is_the_same_in_both_headers_or_refused(self, alice: User, bob: User) -> None:
        balance = alice.balance
        answer = post(alice, body(bob), X_Idempotency_Key="one", Idempotency_Key="two")
        problem(answer, 400, "idempotency_key_invalid")
        answer = post(alice, body(bob), X_Idempotency_Key="one", Idempotency_Key="")
        problem(answer, 400, "idempotency_key_invalid")
        assert alice.balance == balance

    @pytest.mark.contract("1.4.3")
    def test_that_is_invalid_is_answered_before_an_invalid_body(self, alice: User) -> None:
        problem(post(alice, b'{"amount":-1}', X_Idempotency_Key="a b"), 400,
                "idempotency_key_invalid")  # fmt: skip
        problem(post(alice, b'{"amount":-1}'), 400, "idempotency_key_missing")

    def test_is_case_sensitive(self, alice: User, bob: User) -> None:
        first, second = (transaction(alice.send(bob, 5, key), 201) for key in ("case", "CASE"))
        assert first["id"] != second["id"]

    @pytest.mark.contract("1.8.2")
    def test_belongs_to_one_user(self, api: Api, alice: User, bob: User) -> None:
        other = api.user(100)
        first = transaction(alice.send(bob, 5, "shared"), 201)
        second = transaction(other.send(bob, 6, "shared", description="mine"), 201)
        assert first["id"] != second["id"]
        assert second["sender_id"] == other.account_id
        assert (second["description"], other.balance) == ("mine", 94)

    @pytest.mark.contract("1.8.1")
    def test_is_ignored_by_routes_that_move_no_money(self, alice: User) -> None:
        for key in ("a b", "k" * 300):
            answer = alice.client.request(
                "GET", "/api/v1/accounts", headers={"X-Idempotency-Key": key}
            )
            assert answer.status == 200
