"""E-mail addresses, names, passwords and times that were made to pass for something else."""

from typing import Any, Final

import pytest

from finpay import ids
from tests.api.assertions import invalid, sending
from tests.api_process import PASSWORD, Api

# (text, what it draws). Unassigned code points of the property are in the list: a future version
# of Unicode gives them to invisible characters.
INVISIBLE: Final = [
    "\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u180b", "\u180e", "\u180f",
    "\u200b", "\u200c", "\u200d", "\u200e", "\u202a", "\u202e", "\u2060", "\u2064", "\u2065",
    "\u2066", "\u2069", "\u206a", "\u3164", "\ufe00", "\ufe0f", "\ufeff", "\uffa0", "\ufff0",
    "\ufff8", "\U0001bca0", "\U0001d173", "\U000e0001", "\U000e0020", "\U000e0100", "\U000e0fff",
]  # fmt: skip
BLANK: Final = ["\u2800", "\ufffc", "\U00013441", "\U00016fe4", "\U0001d159", "\u3000", "\u00a0"]
BIDI: Final = ["\u061c", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e",
               "\u2066", "\u2067", "\u2068", "\u2069"]  # fmt: skip
# Each row: spellings of one mailbox, and the only form that is stored.
ONE_MAILBOX: Final = [
    (["x@bücher.example", "x@xn--bcher-kva.example", "X@BÜCHER.EXAMPLE", "x@XN--BCHER-KVA.example",
      "x@bu\u0308cher.example"], "x@bücher.example"),
    (["x@straße.example", "x@xn--strae-oqa.example"], "x@straße.example"),
    (["x@例え.example", "x@xn--r8jz45g.example"], "x@例え.example"),
    (["ﬁ@example.com", "fi@example.com", "FI@Example.COM", "ｆｉ@ｅｘａｍｐｌｅ.com"], "fi@example.com"),
    (["é@example.com", "e\u0301@example.com", "E\u0301@example.com"], "é@example.com"),
]  # fmt: skip
# Valid in none of the two forms: an A-label that decodes to nothing, or to another A-label.
NO_DOMAINS: Final = [
    "x@xn--.example", "x@xn--a.example", "x@xn--bcher-.example", "x@-a.example", "x@a-.example",
    "x@a..example", "x@.example", "x@example", "x@1.2.3.4", "x@[1.2.3.4]", "x@a_b.example",
    "x@☕.example", f"x@{'a' * 64}.example", f"x@{'é' * 60}.example",
]  # fmt: skip
# (time, as it is read)
DECIMALS: Final = [
    ("2026-01-31T12:00:00.1234567Z", "2026-01-31T12:00:00.123456Z"),  # .NET
    ("2026-01-31T12:00:00.12345678Z", "2026-01-31T12:00:00.123456Z"),
    ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456Z"),  # Go, Java
    ("2026-01-31T12:00:00.999999999Z", "2026-01-31T12:00:00.999999Z"),  # not rounded up
    ("2026-01-31T14:00:00.123456789+02:00", "2026-01-31T12:00:00.123456Z"),
]
NO_TIMES: Final = ["2026-01-31T12:00:00.Z", "2026-01-31T12:00:00.1234567890Z", "2026-01-31",
                   "2026-01-31T12:00:00", "2026-13-01T00:00:00Z",
                   "٢٠٢٦-01-31T12:00:00Z"]  # fmt: skip


def register(api: Api, **members: object) -> Any:
    body = {"email": f"{ids.new_uuid()}@example.com", "password": PASSWORD, **members}
    return api.client().request("POST", "/api/v1/auth/register", json=body)


@pytest.mark.contract("1.1.5")
def test_an_address_with_an_invisible_character_is_refused(api: Api) -> None:
    for character in [*INVISIBLE, *BLANK]:
        with sending(character):
            for email in (f"a{character}b@example.com", f"{character}a@example.com",
                          f"a@exam{character}ple.com"):  # fmt: skip
                invalid(register(api, email=email), "#/email")


@pytest.mark.contract("1.1.5")
@pytest.mark.parametrize(("spellings", "stored"), ONE_MAILBOX, ids=[m for _, m in ONE_MAILBOX])
def test_one_mailbox_is_one_user(api: Api, spellings: list[str], stored: str) -> None:
    unique = str(ids.new_uuid())
    first = register(api, email=f"{unique}{spellings[0]}")
    assert first.status == 201
    assert first.json()["user"]["email"] == unique + stored
    for spelling in spellings:
        with sending(spelling):
            assert register(api, email=unique + spelling).status == 409
            body = {"email": unique + spelling, "password": PASSWORD}
            assert api.client().request("POST", "/api/v1/auth/login", json=body).status == 200


@pytest.mark.contract("1.1.5")
def test_what_dns_can_not_hold_is_no_domain(api: Api) -> None:
    for email in NO_DOMAINS:
        with sending(email):
            invalid(register(api, email=email), "#/email")


@pytest.mark.contract("1.1.6")
def test_a_name_has_no_invisible_character(api: Api) -> None:
    for character in INVISIBLE:
        with sending(character):
            invalid(register(api, name=f"Ali{character}ce"), "#/name")
    assert register(api, name="Zoë 李 محمد").status == 201


@pytest.mark.contract("1.1.6")
def test_a_description_has_no_direction_control(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    for character in BIDI:
        with sending(character):
            sent = alice.send(bob, 1, str(ids.new_uuid()), description=f"R 1{character}000")
            invalid(sent, "#/description")
    for fine in ("👨‍👩‍👧 lunch", "غداء", "❤\ufe0f"):
        with sending(fine):
            assert alice.send(bob, 1, str(ids.new_uuid()), description=fine).status == 201


@pytest.mark.contract("1.1.5")
@pytest.mark.parametrize(
    "password",
    ["{email}", "{EMAIL}", "{local}", "{local} ", "Zaphod Beeblebrox", "zaphodbeeblebrox",
     "aaaaaaaa1", "11111111", "ääääääää", "finpay123", "FinPay2026", "1finpay1", "password123"],
)  # fmt: skip
def test_a_guessable_password_is_refused(api: Api, password: str) -> None:
    local = f"arthur.{ids.new_uuid().hex[:12]}"
    email = f"{local}@example.com"
    text = password.format(email=email, EMAIL=email.upper(), local=local)
    answer = register(api, email=email, name="Zaphod Beeblebrox", password=text)
    invalid(answer, "#/password")


@pytest.mark.contract("1.1.5")
def test_the_old_password_is_no_new_one(api: Api) -> None:
    alice = api.user()
    body = {"current_password": PASSWORD, "new_password": PASSWORD}
    invalid(alice.client.request("POST", "/api/v1/auth/password", json=body), "#/new_password")


@pytest.mark.contract("1.1.3")
def test_times_are_read_to_the_microsecond(api: Api) -> None:
    """The same answer as for the time with six decimals."""
    alice = api.user()
    for written, read in DECIMALS:
        with sending(written):
            answers = [alice.get("/transactions", created_from=time) for time in (written, read)]
            assert [answer.status for answer in answers] == [200, 200]
            assert answers[0].body == answers[1].body
    for text in NO_TIMES:
        with sending(text):
            answer = alice.get("/transactions", created_from=text)
            assert answer.status == 422
            assert answer.json()["errors"][0]["parameter"] == "created_from"
