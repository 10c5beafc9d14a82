"""Amounts, currencies, texts and query parameters: a value out of format is 422, never rounded.

Every row of each table is sent; afterwards neither account nor keys have changed.
"""

from collections.abc import Iterator

import pytest

from finpay.client import HttpResponse
from tests.api.assertions import UNKNOWN_ACCOUNT, invalid, post, problem, sending, transaction
from tests.api_process import Api, User

LIMIT = 2**53 - 1

# Valid JSON values that are not an integer from 1 to 2^53-1.
INVALID_AMOUNTS = [
    '"100"', '" 100 "', '"1_000"', '"+5"', '"１００"', '"0x10"', '"100.00"', '""', '"1e2"', '"NaN"',
    "100.0", "1e2", "1E2", "1e+2", "100e-2", "100.5", "0.1", "1.0000000000000001", "1e400",
    "-1e400", "1.0e0", "9007199254740991.0", "9.007199254740991e15",
    "true", "false", "null", "[]", "[100]", "{}", '{"amount":100}', "[[100]]",
    "0", "-0", "-0.0", "-1", "-100", str(-LIMIT),
    str(2**53), str(2**53 + 1), str(2**63 - 1), str(2**63), str(2**64 + 100), str(-(2**63)),
    "9" * 19, "9" * 20, "1" + "0" * 400, "-" + "9" * 400, "9" * 5_000, "1" * 60_000,
]  # fmt: skip

# Texts that are not JSON, although JavaScript or Python accepts some of them.
MALFORMED_AMOUNTS = [
    "NaN", "Infinity", "-Infinity", "+5", "0x10", "0o7", "1_000", "007", "00", "-01", ".5", "5.",
    "1e", "--1", "- 1", "", "100,", "１００", "'100'", "True", "None", "nan", "undefined", "1n",
]  # fmt: skip

INVALID_CURRENCIES = [
    '"zar"', '"Zar"', '"ZA"', '"ZARR"', '"ZAR "', '" ZAR"', '""', '"XXX"', '"XAU"', '"XTS"',
    '"ZZZ"', '"ＺＡＲ"', '"ZАR"', '"Z\\u0000R"', "710", "true", "[]", '["ZAR"]', "{}", '"ZAR\\n"',
    '"BTC"', '"€"', '"\\ud800ZA"',
]  # fmt: skip

NON_TEXTS = ["1", "true", "[]", "{}", "1.5", '"\\u0000"', '"\\udfff"', f'["{UNKNOWN_ACCOUNT}"]']


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(LIMIT)


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user()


@pytest.fixture(autouse=True)
def assert_unchanged(api: Api, alice: User) -> Iterator[None]:
    """Checks that alice's account and keys are unchanged after the test."""
    state = (
        "SELECT sequence, (SELECT count(*) FROM ledger.idempotency_keys k "
        "WHERE k.principal_id = a.user_id) FROM ledger.accounts a WHERE public_id = $1"
    )
    before = api.sql(state, alice.account_id)
    yield
    assert api.sql(state, alice.account_id) == before


def send(user: User, **members: str) -> HttpResponse:
    """A transfer whose members are JSON texts."""
    content = ",".join(f'"{name}":{text}' for name, text in members.items())
    return post(user, f"{{{content}}}".encode(), X_Idempotency_Key="never-used")


@pytest.mark.contract("1.1.1")
def test_an_amount_that_is_not_an_integer_in_range_is_422(alice: User, bob: User) -> None:
    for text in INVALID_AMOUNTS:
        with sending(text):
            answer = send(alice, receiver_id=f'"{bob.account_id}"', amount=text)
            invalid(answer, "#/amount")


def test_an_amount_that_is_not_json_is_400(alice: User, bob: User) -> None:
    for text in MALFORMED_AMOUNTS:
        with sending(text):
            answer = send(alice, receiver_id=f'"{bob.account_id}"', amount=text)
            problem(answer, 400, "malformed_json")


def test_an_amount_is_required(alice: User, bob: User) -> None:
    invalid(send(alice, receiver_id=f'"{bob.account_id}"'), "#/amount")


def test_a_currency_that_is_not_in_iso_4217_is_422(alice: User, bob: User) -> None:
    for text in INVALID_CURRENCIES:
        with sending(text):
            answer = send(alice, receiver_id=f'"{bob.account_id}"', amount="5", currency=text)
            invalid(answer, "#/currency")


@pytest.mark.parametrize("member", ["receiver_id", "receiver_email", "description"])
def test_a_member_that_is_not_a_storable_text_is_422(alice: User, bob: User, member: str) -> None:
    for text in NON_TEXTS:
        members = {"receiver_id": f'"{bob.account_id}"', "amount": "5"}
        if member == "receiver_email":
            del members["receiver_id"]
        with sending(text):
            invalid(send(alice, **members | {member: text}), f"#/{member}")


def test_a_body_that_is_not_an_object_is_422(alice: User) -> None:
    for text in ("[]", "[1]", '"text"', "1", "1.5", "true", "null", '[{"amount":5}]'):
        answer = post(alice, text.encode(), X_Idempotency_Key="never-used")
        problem(answer, 422, "validation_failed")


@pytest.mark.contract("1.1.1")
@pytest.mark.parametrize("amount", [1, LIMIT])
def test_the_smallest_and_the_largest_amount_are_sent(api: Api, amount: int) -> None:
    sender, receiver = api.user(amount), api.user()
    answer = post(
        sender,
        f'{{"receiver_id":"{receiver.account_id}","amount":{amount}}}'.encode(),
        X_Idempotency_Key="edge",
    )
    assert transaction(answer, 201)["amount"] == amount
    assert (sender.balance, receiver.balance) == (0, amount)
    assert f'"amount":{amount},'.encode() in answer.body


INVALID_PARAMETERS = {
    "limit": ["", "0", "-1", "+1", "101", "1.0", "1e1", "01", "１", "1_0", "true", " 1", "9" * 400],
    "amount_min": [
        "", "-1", "1.0", "1e2", "0x1", "1_000", "+5", " 1", "１００", str(2**53), "9" * 400,
    ],
    "amount_max": ["", "-1", "100.0", "NaN", "Infinity", "null", str(2**63), "1" * 3_000],
    "created_from": [
        "", "now", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00Z",
        "2026-01-31T12:00Z", "0000-01-01T00:00:00Z", "2026-01-31T24:00:00Z",
        "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z", "2026-01-31T12:00:00.1234567890Z", "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+10:99", "2026-01-31T12:00:00+0200", "12026-01-31T12:00:00Z",
        "٢٠٢٦-01-31T12:00:00Z", "1767225600", "2026-W05-6T12:00:00Z", "2026-01-31T12:00:00Z\n",
        "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "2026-01-31T12:00:00,5Z",
    ],
    "direction": ["", "SENT", "both", "sent ", "sent,received"],
    "status": ["", "Completed", "done", "null"],
    "counterparty_id": [
        "", "acc_", "bob", UNKNOWN_ACCOUNT.upper(), UNKNOWN_ACCOUNT[:-1],
        UNKNOWN_ACCOUNT.replace("acc", "usr"),
    ],
    "idempotency_key": ["", "a b", "é", "k" * 256, "\x00", "a\n"],
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID_PARAMETERS)
def test_a_query_parameter_out_of_format_is_422(alice: User, name: str) -> None:
    for text in INVALID_PARAMETERS[name]:
        with sending(text):
            invalid(alice.get("/transactions", **{name: text}), name, kind="parameter")


def test_a_time_may_have_an_offset_and_a_fraction(alice: User) -> None:
    for text in ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5+02:00", "0001-01-01T00:00:00Z",
                 "2026-01-31T12:00:00.123456-00:30", "2026-01-31T12:00:00.123456789Z",
                 "9999-12-31T23:59:59.999999Z"):  # fmt: skip
        for path in ("/transactions", "/accounts/entries"):
            assert alice.get(path, created_from=text).status == 200
            assert alice.get(path, created_to=text).status == 200


@pytest.mark.contract("1.3.4")
def test_an_unknown_or_repeated_query_parameter_is_422(alice: User) -> None:
    for path in ("/transactions", "/accounts/entries"):
        url = f"/api/v1{path}"
        for query, parameter in (
            ("limit=1&limit=1", "limit"), ("offset=1", "offset"), ("page=1", "page"),
            ("Limit=1", "Limit"), ("limit", "limit"),
        ):  # fmt: skip
            invalid(alice.client.request("GET", f"{url}?{query}"), parameter, kind="parameter")
    for filter_ in ("direction", "status", "amount_min", "idempotency_key"):
        invalid(alice.get("/accounts/entries", **{filter_: "1"}), filter_, kind="parameter")
    for path in ("/accounts", "/auth/me"):
        invalid(alice.get(path, a="1"), "a", kind="parameter")
    answer = alice.client.request(
        "POST", "/api/v1/transactions?a=1", json={"receiver_id": UNKNOWN_ACCOUNT, "amount": 5},
        headers={"X-Idempotency-Key": "never-used"},
    )  # fmt: skip
    invalid(answer, "a", kind="parameter")
