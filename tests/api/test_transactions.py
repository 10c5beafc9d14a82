"""POST /transactions and GET /transactions/{id}: every answer and every member."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finpay.client import HttpResponse
from tests.api.assertions import TRANSACTIONS, UNKNOWN_ACCOUNT, invalid, problem, transaction
from tests.api_process import Api, User

LIMIT = 2**53 - 1


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(1_000_000)


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user()


def post(user: User, key: str, **body: Any) -> HttpResponse:
    answer: HttpResponse = user.client.request(
        "POST", TRANSACTIONS, json=body, headers={"X-Idempotency-Key": key}
    )
    return answer


@pytest.mark.contract("1.2.10")
def test_a_completed_transfer_has_every_field(alice: User, bob: User) -> None:
    before, received_before = alice.balance, bob.balance
    answer = alice.send(bob, 2_500, "fields", description="Rent", metadata={"house": "7"})
    members = transaction(answer, 201)
    created_at = datetime.fromisoformat(members["created_at"])
    assert abs(datetime.now(UTC) - created_at) < timedelta(seconds=5)
    assert members == {
        "id": members["id"], "object": "transaction", "type": "transfer", "status": "completed",
        "direction": "sent", "amount": 2_500, "currency": "ZAR", "sender_id": alice.account_id,
        "receiver_id": bob.account_id, "description": "Rent", "metadata": {"house": "7"},
        "balance_after": before - 2_500, "available_after": before - 2_500,
        "failure_code": None, "refunded_amount": 0, "origin": None, "scheduled_for": None,
        "created_at": members["created_at"],
    }  # fmt: skip
    assert alice.balance == before - 2_500
    assert bob.balance == received_before + 2_500


@pytest.mark.contract("1.1.7")
def test_omitted_members_are_in_the_answer(alice: User, bob: User) -> None:
    members = transaction(alice.send(bob, 1, "bare"), 201)
    assert (members["description"], members["metadata"]) == (None, {})
    nulls = {"description": None, "metadata": None, "currency": None, "receiver_email": None}
    members = transaction(alice.send(bob, 1, "nulls", **nulls), 201)
    assert (members["description"], members["metadata"], members["currency"]) == (None, {}, "ZAR")


@pytest.mark.contract("1.2.11")
def test_each_party_reads_its_own_side_and_other_users_get_404(
    api: Api, alice: User, bob: User
) -> None:
    sent = transaction(alice.send(bob, 10, "sides"), 201)
    received = transaction(bob.get(f"/transactions/{sent['id']}"))
    own_side = {"direction": "received", "balance_after": bob.balance}
    own_side["available_after"] = own_side["balance_after"]
    assert received == sent | own_side
    other = api.user()
    unseen = problem(other.get(f"/transactions/{sent['id']}"), 404, "not_found")
    unknown = problem(other.get("/transactions/txn_01h455vb4pex5vsknk084sn02q"), 404, "not_found")
    del unseen["request_id"], unknown["request_id"]
    assert unseen == unknown


@pytest.mark.contract("1.1.4")
@pytest.mark.parametrize(
    "path_id", ["txn_1", "acc_01h455vb4pex5vsknk084sn02q", "TXN_01h455vb4pex5vsknk084sn02q",
                "txn_81h455vb4pex5vsknk084sn02q", "txn_01h455vb4pex5vsknk084sn02u", "0", "null"]
)  # fmt: skip
def test_a_malformed_id_in_the_path_is_404(alice: User, path_id: str) -> None:
    problem(alice.get(f"/transactions/{path_id}"), 404, "not_found")


@pytest.mark.parametrize(
    ("description", "metadata"),
    [
        ("100 % of it: %s %1$s %% %I", {"%s": "%2$s", "a%": "%"}),
        ('"quoted" \\ back\\slash / slash', {'"': "\\", "\\u0041": "\\n"}),
        ("tab\tline\r\nbell\x07 del\x7f c1\x85 sep\u2028\u2029", {"\t": "\x1f"}),
        ("Zürich 東京 🏦 e\u0301 \ufeff \U0010ffff", {"ключ": "🔑", "": ""}),
        ("", {}),
        ("'; DROP TABLE ledger.entries; --", {"b": "2", "a": "1", "__proto__": "{}"}),
    ],
)
def test_the_answer_equals_that_of_a_later_get_byte_for_byte(
    alice: User, bob: User, description: str, metadata: dict[str, str]
) -> None:
    key = f"bytes-{description[:4].encode().hex()}"
    answer = alice.send(bob, 1, key, description=description, metadata=metadata)
    members = transaction(answer, 201)
    assert (members["description"], members["metadata"]) == (description, metadata)
    assert list(members["metadata"]) == list(metadata)
    assert alice.get(f"/transactions/{members['id']}").body == answer.body
    assert alice.get("/transactions").json()["data"][0] == members


class TestReceiver:
    def test_can_be_named_by_email_in_any_case_and_form(self, alice: User, bob: User) -> None:
        wide = "".join(chr(ord(letter) + 0xFEE0) for letter in bob.email)
        for number, email in enumerate((bob.email, bob.email.upper(), wide)):
            answer = post(alice, f"email-{number}", receiver_email=email, amount=1)
            assert transaction(answer, 201)["receiver_id"] == bob.account_id

    @pytest.mark.contract("1.2.9")
    @pytest.mark.parametrize(
        "receiver", [{}, {"receiver_id": None}, {"receiver_id": None, "receiver_email": None},
                     {"receiver_id": UNKNOWN_ACCOUNT, "receiver_email": "a@example.com"}]
    )  # fmt: skip
    def test_is_named_exactly_once(self, alice: User, receiver: dict[str, str]) -> None:
        problem(post(alice, "once", amount=1, **receiver), 422, "validation_failed")

    @pytest.mark.contract("1.1.4")
    @pytest.mark.parametrize(
        "text", ["", "acc_", UNKNOWN_ACCOUNT[:-1], UNKNOWN_ACCOUNT + "0", UNKNOWN_ACCOUNT.upper(),
                 f" {UNKNOWN_ACCOUNT}", "bob", UNKNOWN_ACCOUNT.replace("acc", "usr"),
                 "txn_01h455vb4pex5vsknk084sn02q", "acc_81h455vb4pex5vsknk084sn02q",
                 "018f0e2c-0000-7000-8000-000000000000"]
    )  # fmt: skip
    def test_has_a_well_formed_account_id(self, alice: User, text: str) -> None:
        invalid(post(alice, "id", amount=1, receiver_id=text), "#/receiver_id")

    @pytest.mark.parametrize("text", ["", "bob", "a@b@c.d", "a b@example.com", "x" * 250 + "@e.co"])
    def test_has_a_well_formed_email(self, alice: User, text: str) -> None:
        invalid(post(alice, "mail", amount=1, receiver_email=text), "#/receiver_email")

    def test_that_does_not_exist_is_404(self, alice: User) -> None:
        before = alice.balance
        problem(
            post(alice, "unknown", amount=1, receiver_id=UNKNOWN_ACCOUNT), 404, "receiver_not_found"
        )
        answer = post(alice, "unknown@", amount=1, receiver_email="nobody@example.com")
        problem(answer, 404, "receiver_not_found")
        assert alice.balance == before

    @pytest.mark.contract("1.2.13")
    def test_is_never_a_system_account(self, api: Api, alice: User) -> None:
        rows = api.sql("SELECT public_id FROM ledger.accounts WHERE user_id IS NULL")
        assert rows
        for number, row in enumerate(rows):
            answer = post(alice, f"system-{number}", amount=1, receiver_id=row["public_id"])
            problem(answer, 404, "receiver_not_found")

    def test_is_not_the_sender(self, alice: User) -> None:
        before = alice.get("/accounts").body
        answer = alice.send(alice, 1, "self")
        problem(answer, 422, "same_account")
        problem(post(alice, "self@", amount=1, receiver_email=alice.email), 422, "same_account")
        assert alice.get("/accounts").body == before


class TestLimitsOfText:
    @pytest.mark.contract("1.1.6")
    @pytest.mark.parametrize("description", ["x" * 500, "🏦" * 500])
    def test_a_description_has_500_characters(
        self, alice: User, bob: User, description: str
    ) -> None:
        key = f"description-{description[0].encode().hex()}"
        invalid(alice.send(bob, 1, key, description=f"{description}."), "#/description")
        answer = alice.send(bob, 1, key, description=description)
        assert transaction(answer, 201)["description"] == description

    @pytest.mark.contract("1.1.6")
    @pytest.mark.parametrize(
        ("name", "fits", "exceeds"),
        [
            ("pairs", {str(n): "" for n in range(20)}, {str(n): "" for n in range(21)}),
            ("key", {"🏦" * 40: ""}, {"k" * 41: ""}),
            # {"k":"…"} has 8 bytes around its text
            ("size", {"k": "x" * 4_088}, {"k": "x" * 4_089}),
            ("bytes", {"k": "é" * 2_044}, {"k": "é" * 2_044 + "x"}),
        ],
    )
    def test_metadata_has_20_pairs_keys_of_40_characters_and_4_kib(
        self, alice: User, bob: User, name: str, fits: dict[str, str], exceeds: dict[str, str]
    ) -> None:
        invalid(alice.send(bob, 1, f"metadata-{name}", metadata=exceeds), "#/metadata")
        answer = alice.send(bob, 1, f"metadata-{name}", metadata=fits)
        assert transaction(answer, 201)["metadata"] == fits

    @pytest.mark.parametrize("value", [1, 1.5, True, None, [], {}, ["a"]])
    def test_metadata_holds_strings(self, alice: User, bob: User, value: object) -> None:
        answer = alice.send(bob, 1, "metadata-type", metadata={"k": value})
        members = problem(answer, 422, "validation_failed")
        assert members["errors"][0]["pointer"].startswith("#/metadata")
        for whole in (value, "text"):
            if whole not in (None, {}):
                invalid(alice.send(bob, 1, "metadata-type", metadata=whole), "#/metadata")


class TestRefusedForLackOfFunds:
    @pytest.mark.contract("1.2.12")
    def test_is_recorded_for_the_sender_alone_and_moves_nothing(self, api: Api) -> None:
        poor, rich = api.user(99), api.user(5)
        accounts = [user.get("/accounts").json() for user in (poor, rich)]
        answer = poor.send(rich, 100, "too-much", description="Rent", metadata={"a": "b"})
        members = problem(answer, 402, "insufficient_funds")
        failed = transaction(poor.get(f"/transactions/{members['transaction_id']}"))
        assert failed == {
            "id": members["transaction_id"], "object": "transaction", "type": "transfer",
            "status": "failed", "direction": "sent", "amount": 100, "currency": "ZAR",
            "sender_id": poor.account_id, "receiver_id": rich.account_id, "description": "Rent",
            "metadata": {"a": "b"}, "balance_after": 99, "failure_code": "insufficient_funds",
            "available_after": 99, "refunded_amount": 0, "origin": None, "scheduled_for": None,
            "created_at": failed["created_at"],
        }  # fmt: skip
        assert poor.get("/transactions").json()["data"][0] == failed
        assert [step["type"] for step in rich.get("/transactions").json()["data"]] == ["funding"]
        problem(rich.get(f"/transactions/{failed['id']}"), 404, "not_found")
        assert [user.get("/accounts").json() for user in (poor, rich)] == accounts
        assert len(poor.get("/accounts/entries").json()["data"]) == 1

    def test_the_whole_balance_may_be_sent_and_not_one_unit_more(self, api: Api, bob: User) -> None:
        sender = api.user(100)
        problem(sender.send(bob, 101, "one-more"), 402, "insufficient_funds")
        assert transaction(sender.send(bob, 100, "all"), 201)["balance_after"] == 0
        problem(sender.send(bob, 1, "none-left"), 402, "insufficient_funds")
        problem(sender.send(bob, LIMIT, "most"), 402, "insufficient_funds")


def test_a_balance_is_at_most_two_to_the_53_less_1(api: Api) -> None:
    sender, receiver = api.user(10), api.user(LIMIT - 5)
    problem(sender.send(receiver, 6, "over"), 422, "balance_limit")
    assert transaction(sender.send(receiver, 5, "to-the-limit"), 201)["amount"] == 5
    assert receiver.balance == LIMIT
    problem(sender.send(receiver, 1, "over-by-one"), 422, "balance_limit")
    assert sender.balance == 5
    answer = receiver.send(sender, LIMIT - 5, "back")
    assert transaction(answer, 201)["balance_after"] == 5
    assert sender.balance == LIMIT


class TestCurrency:
    @pytest.mark.contract("1.2.9")
    @pytest.mark.parametrize("currency", ["JPY", "KWD", "CLF", "USD"])
    def test_is_the_senders_by_default(self, api: Api, currency: str) -> None:
        sender, receiver = (api.user(balance, currency=currency) for balance in (1_000, 0))
        assert transaction(sender.send(receiver, 1, "default"), 201)["currency"] == currency
        answer = sender.send(receiver, 1, "named", currency=currency)
        assert transaction(answer, 201)["currency"] == currency
        assert receiver.get("/accounts").json()["currency"] == currency
        entry = receiver.get("/accounts/entries").json()["data"][0]
        assert (entry["amount"], entry["currency"]) == (1, currency)

    def test_that_differs_from_either_account_is_refused(
        self, api: Api, alice: User, bob: User
    ) -> None:
        yen = api.user(currency="JPY")
        problem(alice.send(yen, 1, "to-yen"), 422, "currency_mismatch")
        problem(alice.send(yen, 1, "as-yen", currency="JPY"), 422, "currency_mismatch")
        problem(alice.send(bob, 1, "not-ours", currency="USD"), 422, "currency_mismatch")


def test_a_funding_is_in_the_history(api: Api) -> None:
    user = api.user(700)
    (funding,) = user.get("/transactions").json()["data"]
    assert transaction(user.get(f"/transactions/{funding['id']}")) == funding
    assert funding | {"id": 0, "created_at": 0, "sender_id": 0} == {
        "id": 0, "object": "transaction", "type": "funding", "status": "completed",
        "direction": "received", "amount": 700, "currency": "ZAR", "sender_id": 0,
        "receiver_id": user.account_id, "description": None, "metadata": {},
        "balance_after": 700, "failure_code": None, "created_at": 0, "available_after": 700,
        "refunded_amount": 0, "origin": None, "scheduled_for": None,
    }  # fmt: skip


@pytest.mark.contract("1.5.3")
def test_an_answer_about_money_is_not_cacheable(alice: User, bob: User) -> None:
    headers = alice.send(bob, 1, "private").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "max-age" in headers["Strict-Transport-Security"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Request-Id"].startswith("req_")


def test_the_ledger_verifies_after_these_tests(api: Api) -> None:
    api.verify()
