"""A frozen account neither sends nor receives, and everything else about it goes on."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from finpay.errors import Code, FinPayError
from tests.api.assertions import NOBODY, post, problem, replays, transaction
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


def test_it_takes_no_money_from_outside_either(api: Api, frozen: User) -> None:
    with pytest.raises(FinPayError) as refused:
        api.fund(frozen, 1)
    assert refused.value.code is Code.RECEIVER_UNAVAILABLE
    assert frozen.balance == 1_000


def test_that_comes_before_every_other_refusal(frozen: User, bob: User) -> None:
    problem(frozen.send(frozen, 1, "self"), 403, "account_frozen")
    problem(frozen.send(bob, 10**9, "too-much"), 403, "account_frozen")
    problem(frozen.send(bob, 1, "currency", currency="USD"), 403, "account_frozen")
    nobody = f'{{"receiver_id":"{NOBODY}","amount":1}}'.encode()
    problem(post(frozen, nobody, X_Idempotency_Key="nobody"), 403, "account_frozen")
    # … and for the sender, a frozen receiver before currency and funds.
    answer = bob.send(frozen, 10**9, f"both-{frozen.email}", currency="USD")
    problem(answer, 422, "receiver_unavailable")


def test_only_the_sender_is_asked_when_both_are_frozen(api: Api, frozen: User) -> None:
    other = api.user()
    api.set_status(other, "frozen")
    problem(frozen.send(other, 1, "both"), 403, "account_frozen")


def test_thawed_it_moves_money_again_and_old_refusals_stand(
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


def test_what_was_answered_before_is_replayed_while_frozen(api: Api, bob: User) -> None:
    user = api.user(10)
    first = user.send(bob, 1, "before")
    api.set_status(user, "frozen")
    replays(first, user.send(bob, 1, "before"))


def test_once_frozen_nothing_more_leaves_it_whoever_is_in_the_middle_of_sending(
    api: Api, bob: User
) -> None:
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


def test_setting_what_is_set_changes_nothing(api: Api, frozen: User) -> None:
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
