"""A frozen account neither sends nor receives, and everything else about it goes on."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from finpay.errors import Code, FinPayError
from tests.api.assertions import UNKNOWN_ACCOUNT, post, problem, replays, transaction
from tests.api_process import Api, User


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user(100)


@pytest.fixture
def frozen(api: Api) -> User:
    user = api.user(1_000)
    api.set_status(user, "frozen")
    return user


@pytest.mark.contract("4.1.8")
def test_it_can_be_read(frozen: User) -> None:
    account = frozen.get("/accounts").json()
    assert (account["status"], account["balance"], account["version"]) == ("frozen", 1_000, 1)
    assert len(frozen.get("/transactions").json()["data"]) == 1
    assert len(frozen.get("/accounts/entries").json()["data"]) == 1


@pytest.mark.contract("4.1.8")
def test_it_does_not_send(frozen: User, bob: User) -> None:
    answer = frozen.send(bob, 1, "send")
    problem(answer, 403, "account_frozen")
    assert frozen.balance == 1_000
    assert frozen.get("/transactions", idempotency_key="send").json()["data"] == []


@pytest.mark.contract("4.1.8")
def test_it_does_not_receive(frozen: User, bob: User) -> None:
    before = bob.balance
    problem(bob.send(frozen, 1, f"to-{frozen.email}"), 422, "receiver_unavailable")
    asked = f'{{"receiver_email":"{frozen.email}","amount":1}}'.encode()
    answer = post(bob, asked, X_Idempotency_Key=f"mail-{frozen.email}")
    problem(answer, 422, "receiver_unavailable")
    assert (bob.balance, frozen.balance) == (before, 1_000)


def test_it_can_not_be_funded(api: Api, frozen: User) -> None:
    with pytest.raises(FinPayError) as refused:
        api.fund(frozen, 1)
    assert refused.value.code is Code.RECEIVER_UNAVAILABLE
    assert frozen.balance == 1_000


def test_account_frozen_comes_before_every_other_refusal(frozen: User, bob: User) -> None:
    problem(frozen.send(frozen, 1, "self"), 403, "account_frozen")
    problem(frozen.send(bob, 10**9, "too-much"), 403, "account_frozen")
    problem(frozen.send(bob, 1, "currency", currency="USD"), 403, "account_frozen")
    unknown = f'{{"receiver_id":"{UNKNOWN_ACCOUNT}","amount":1}}'.encode()
    problem(post(frozen, unknown, X_Idempotency_Key="unknown"), 403, "account_frozen")
    # For the sender, a frozen receiver comes before currency and funds.
    answer = bob.send(frozen, 10**9, f"both-{frozen.email}", currency="USD")
    problem(answer, 422, "receiver_unavailable")


def test_account_frozen_comes_first_when_both_are_frozen(api: Api, frozen: User) -> None:
    other = api.user()
    api.set_status(other, "frozen")
    problem(frozen.send(other, 1, "both"), 403, "account_frozen")


def test_unfrozen_it_can_send_and_receive_and_old_refusals_are_replayed(
    api: Api, frozen: User, bob: User
) -> None:
    sent = frozen.send(bob, 1, "while-frozen")
    problem(sent, 403, "account_frozen")
    received = bob.send(frozen, 1, f"while-{frozen.email}")
    problem(received, 422, "receiver_unavailable")
    api.set_status(frozen, "active")
    replays(sent, frozen.send(bob, 1, "while-frozen"))
    replays(received, bob.send(frozen, 1, f"while-{frozen.email}"))
    transaction(frozen.send(bob, 1, "thawed"), 201)
    transaction(bob.send(frozen, 1, f"thawed-{frozen.email}"), 201)
    account = frozen.get("/accounts").json()
    assert (account["status"], account["version"]) == ("active", 3)


def test_answers_from_before_are_replayed_while_frozen(api: Api, bob: User) -> None:
    user = api.user(10)
    first = user.send(bob, 1, "before")
    api.set_status(user, "frozen")
    replays(first, user.send(bob, 1, "before"))


def test_once_frozen_no_transfer_in_flight_debits_it(api: Api, bob: User) -> None:
    user = api.user(10_000)

    def send(sender: int) -> None:
        for number in range(15):
            assert user.send(bob, 1, f"stream-{sender}-{number}").status in {201, 403}

    with ThreadPoolExecutor(5) as threads:
        streams = [threads.submit(send, sender) for sender in range(4)]
        threads.submit(api.set_status, user, "frozen").result()
        frozen_at = balance(api, user)
        for stream in streams:
            stream.result()
    assert balance(api, user) == frozen_at
    problem(user.send(bob, 1, "after"), 403, "account_frozen")
    api.verify()


def test_setting_the_present_status_changes_nothing(api: Api, frozen: User) -> None:
    before = sequence(api, frozen)
    api.set_status(frozen, "frozen")
    assert sequence(api, frozen) == before
    api.set_status(frozen, "active")
    assert sequence(api, frozen) == before + 1


def balance(api: Api, user: User) -> int:
    query = "SELECT balance FROM ledger.accounts WHERE public_id = $1"
    return int(api.sql(query, user.account_id)[0]["balance"])


def sequence(api: Api, user: User) -> int:
    query = "SELECT sequence FROM ledger.accounts WHERE public_id = $1"
    return int(api.sql(query, user.account_id)[0]["sequence"])
