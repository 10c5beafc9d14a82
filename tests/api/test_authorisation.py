"""Resources of other users: 404 as for a missing one, and none of their data in any answer."""

from typing import Any, Final, NamedTuple

import pytest

from finpay import ids
from finpay.client import HttpResponse
from tests.api.assertions import UNKNOWN_ACCOUNT, problem, transaction
from tests.api_process import Api, User

# Balances that differ from every other number in an answer.
ALICE_HAS: Final = 987_654_321
BOB_HAS: Final = 555_444_333
SENT: Final = 1_000


class Deal(NamedTuple):
    """Alice sent money to Bob and failed to send too much; Carol took no part."""

    alice: User
    bob: User
    carol: User
    sent: Any
    refused: str


@pytest.fixture(scope="module")
def deal(api: Api) -> Deal:
    alice, bob = api.user(ALICE_HAS, name="Alice"), api.user(BOB_HAS, name="Bob")
    sent = transaction(alice.send(bob, SENT, "deal", description="rent", metadata={"a": "b"}), 201)
    refused = alice.send(bob, 10**15, "too-much")
    refused_id = problem(refused, 402, "insufficient_funds")["transaction_id"]
    return Deal(alice, bob, api.user(), sent, refused_id)


def without_request_id(answer: HttpResponse) -> dict[str, Any]:
    """The members of a problem, except those that differ in each answer."""
    return {**answer.json(), "request_id": None}


def everything(user: User) -> bytes:
    """The bodies of all that this user can read."""
    listed = user.get("/transactions").json()["data"]
    answers = [
        *(user.get(path) for path in ("/auth/me", "/accounts", "/accounts/entries")),
        *(user.get(f"/transactions/{each['id']}") for each in listed),
        user.get("/transactions"),
    ]
    return b"\n".join(answer.body for answer in answers)


def test_a_transaction_of_other_users_is_404_like_a_missing_one(deal: Deal) -> None:
    nothing = deal.carol.get(f"/transactions/{ids.encode('txn', ids.new_uuid())}")
    problem(nothing, 404, "not_found")
    for transaction_id in (
        deal.sent["id"],
        deal.refused,
        UNKNOWN_ACCOUNT,
        deal.alice.account_id,
        "x",
    ):
        answer = deal.carol.get(f"/transactions/{transaction_id}")
        assert answer.status == 404
        assert without_request_id(answer) == without_request_id(nothing)


def test_both_parties_see_a_transfer_each_with_their_own_balance(deal: Deal) -> None:
    assert deal.alice.get(f"/transactions/{deal.sent['id']}").json() == deal.sent
    received = transaction(deal.bob.get(f"/transactions/{deal.sent['id']}"))
    assert received == {
        **deal.sent,
        "direction": "received",
        "balance_after": BOB_HAS + SENT,
        "available_after": BOB_HAS + SENT,
    }
    assert (deal.sent["direction"], deal.sent["balance_after"]) == ("sent", ALICE_HAS - SENT)


@pytest.mark.contract("1.2.10", "6.1.2")
def test_the_other_partys_balance_is_in_no_answer(deal: Deal) -> None:
    of_alice = [str(ALICE_HAS).encode(), str(ALICE_HAS - SENT).encode()]
    of_bob = [str(BOB_HAS).encode(), str(BOB_HAS + SENT).encode()]
    seen_by_alice, seen_by_bob = everything(deal.alice), everything(deal.bob)
    assert all(balance in seen_by_alice for balance in of_alice)
    assert all(balance in seen_by_bob for balance in of_bob)
    assert not any(balance in seen_by_alice for balance in of_bob)
    assert not any(balance in seen_by_bob for balance in of_alice)


def test_no_personal_data_of_a_user_is_in_the_answers_to_another(deal: Deal) -> None:
    for reader, other in ((deal.alice, deal.bob), (deal.bob, deal.alice)):
        seen = everything(reader)
        assert other.email.encode() not in seen
        assert other.user_id.encode() not in seen
        assert other.account_id.encode() in seen
    seen_by_carol = everything(deal.carol)
    for user in (deal.alice, deal.bob):
        for text in (user.email, user.user_id, user.account_id):
            assert text.encode() not in seen_by_carol


@pytest.mark.contract("1.2.11")
def test_a_failed_transfer_is_visible_to_its_sender_only(deal: Deal) -> None:
    failed = transaction(deal.alice.get(f"/transactions/{deal.refused}"))
    assert (failed["status"], failed["failure_code"]) == ("failed", "insufficient_funds")
    assert failed["balance_after"] == ALICE_HAS - SENT
    problem(deal.bob.get(f"/transactions/{deal.refused}"), 404, "not_found")
    for user, listed in ((deal.alice, True), (deal.bob, False)):
        assert (deal.refused.encode() in user.get("/transactions").body) is listed
        assert (deal.refused.encode() in user.get("/transactions", status="failed").body) is listed
        assert deal.refused.encode() not in user.get("/accounts/entries").body


def test_filters_find_only_transactions_of_the_caller(deal: Deal) -> None:
    for user, count in ((deal.alice, 2), (deal.bob, 1), (deal.carol, 0)):
        other = deal.bob if user is deal.alice else deal.alice
        found = user.get("/transactions", counterparty_id=other.account_id).json()
        assert (found["object"], len(found["data"])) == ("list", count)
        keyed = user.get("/transactions", idempotency_key="deal").json()["data"]
        assert [each["id"] for each in keyed] == [deal.sent["id"]] * (user is deal.alice)


def test_a_key_used_by_another_user_is_a_new_key(api: Api, deal: Deal) -> None:
    """Keys belong to a user: the same key and body of another user is another transfer."""
    dave = api.user(SENT)
    sent = dave.send(deal.bob, SENT, "deal", description="rent", metadata={"a": "b"})
    assert "Idempotent-Replayed" not in sent.headers
    assert transaction(sent, 201)["sender_id"] == dave.account_id
    assert dave.balance == 0


@pytest.mark.parametrize("path", ["/transactions", "/accounts/entries"])
def test_a_cursor_of_another_users_list_is_invalid(api: Api, deal: Deal, path: str) -> None:
    api.fund(deal.alice, 1)
    cursor = deal.alice.get(path, limit=1).json()["next_cursor"]
    assert deal.alice.get(path, limit=1, cursor=cursor).status == 200
    problem(deal.bob.get(path, limit=1, cursor=cursor), 400, "cursor_invalid")


def test_no_path_or_parameter_reads_another_users_account(deal: Deal) -> None:
    problem(deal.carol.get(f"/accounts/{deal.alice.account_id}"), 404, "not_found")
    problem(deal.carol.get(f"/accounts/{deal.alice.account_id}/entries"), 404, "not_found")
    for name in ("id", "account_id", "user_id"):
        answer = deal.carol.get("/accounts", **{name: deal.alice.account_id})
        problem(answer, 422, "validation_failed")
    assert deal.carol.get("/accounts").json()["id"] == deal.carol.account_id


def test_a_body_can_not_name_the_sender(deal: Deal) -> None:
    for name in ("sender_id", "account_id", "user_id"):
        answer = deal.carol.send(deal.bob, 1, f"steal-{name}", **{name: deal.alice.account_id})
        problem(answer, 422, "validation_failed")


def test_a_system_account_as_receiver_is_404_like_a_missing_one(api: Api, deal: Deal) -> None:
    """No transfer can send to a system account, and no answer reveals that one exists."""
    rows = api.sql("SELECT id FROM ledger.accounts WHERE user_id IS NULL AND currency = 'ZAR'")
    answers = []
    for number, account_id in enumerate([ids.encode("acc", rows[0]["id"]), UNKNOWN_ACCOUNT]):
        body = {"receiver_id": account_id, "amount": 1}
        answers.append(
            deal.alice.client.request(
                "POST",
                "/api/v1/transactions",
                json=body,
                headers={"X-Idempotency-Key": f"system-{number}"},
            )
        )
        problem(answers[-1], 404, "receiver_not_found")
    assert without_request_id(answers[0]) == without_request_id(answers[1])
