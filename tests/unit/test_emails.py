"""One spelling per mailbox, and nothing in it that is not seen."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finpay.identity.emails import MAX_LENGTH, normalise

SPELLINGS = [
    # as typed                       as stored
    ("alice@finpay.dev",             "alice@finpay.dev"),
    ("ALICE@FinPay.DEV",             "alice@finpay.dev"),
    ("alice+tag@mail.example.co.za", "alice+tag@mail.example.co.za"),
    ("o'neil_x-1@sub.example.museum", "o'neil_x-1@sub.example.museum"),
    ("josé@example.com",             "jos\u00e9@example.com"),
    ("jose\u0301@example.com",       "jos\u00e9@example.com"),   # an accent of its own
    ("JOSE\u0301@example.com",       "jos\u00e9@example.com"),
    ("\uff21lice@example.com",       "alice@example.com"),       # a full-width A
    ("STRAßE@example.com",           "straße@example.com"),      # lower case, no folding
    ("ﬁn@example.com",               "fin@example.com"),         # a ligature
    ("alice\uff20example.com",       "alice@example.com"),       # a full-width @
    ("\u212aate@example.com",        "kate@example.com"),        # the Kelvin sign
    ("मीना@उदाहरण.भारत",                "मीना@उदाहरण.भारत"),
    ("a@xn--mnchen-3ya.de",          "a@xn--mnchen-3ya.de"),
    ("a@1.example.com",              "a@1.example.com"),
    ("é" * 241 + "@example.com",     None),
    ("a" * 242 + "@example.com",     None),                      # 254 characters: the last that fit
]  # fmt: skip


@pytest.mark.contract("1.1.5")
@pytest.mark.parametrize(("typed", "stored"), SPELLINGS)
def test_equal_addresses_have_one_spelling(typed: str, stored: str | None) -> None:
    assert normalise(typed) == (stored or typed)


REFUSED = [
    # text                           a word of the reason
    ("",                             "one @"),
    ("@",                            "one @"),
    ("alice",                        "one @"),
    ("@example.com",                 "one @"),
    ("alice@",                       "one @"),
    ("a@b@example.com",              "one @"),
    ("a\uff20b@example.com",         "one @"),       # becomes a second @
    ("a\ufe6bb@example.com",         "one @"),
    ("alice@localhost",              "domain"),
    ("alice@example",                "domain"),
    ("alice@.com",                   "domain"),
    ("alice@example.",               "domain"),
    ("alice@example..com",           "domain"),
    ("alice@-example.com",           "domain"),
    ("alice@example-.com",           "domain"),
    ("alice@exa_mple.com",           "domain"),
    ("alice@127.0.0.1",              "domain"),
    ("alice@example\u3002com",       "domain"),      # an ideographic full stop
    ("alice@example/com.de",         "domain"),
    (".alice@example.com",           "dot"),
    ("alice.@example.com",           "dot"),
    ("a..b@example.com",             "dot"),
    ("\u2025a@example.com",          "dot"),         # one character that becomes two dots
    ("a b@example.com",              "spaces"),
    (" alice@example.com",           "spaces"),
    ("alice@example.com\n",          "spaces"),
    ("a\u3000b@example.com",         "spaces"),      # ideographic, becomes a space
    ("a\u00a0b@example.com",         "spaces"),
    ("a\u00a8b@example.com",         "spaces"),      # a diaeresis, becomes a space and a mark
    ("a\tb@example.com",             "invisible"),
    ("a\x00b@example.com",           "invisible"),
    ("a\x7fb@example.com",           "invisible"),
    ("a\u200bb@example.com",         "invisible"),   # zero-width space
    ("a\u202eb@example.com",         "invisible"),   # right-to-left override
    ("a\u00adb@example.com",         "invisible"),   # soft hyphen
    ("a\ud800b@example.com",         "invisible"),   # half of a character
    ("a\ue000b@example.com",         "invisible"),   # private use
    ('"a"@example.com',              '"'),
    ("a(b)@example.com",             "("),
    ("<a@example.com>",              "<"),
    ("a@[127.0.0.1]",                "["),
    ("a,b@example.com",              ","),
    ("a;b@example.com",              ";"),
    ("a\\b@example.com",             "\\"),
    ("a" * 243 + "@example.com",     "254"),
    ("\ufdfa" * 14 + "@example.com", "254"),         # 26 characters that become 264
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_what_is_no_address_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        normalise(text)
    assert reason in str(refusal.value)


def test_a_flood_of_accents_costs_no_time() -> None:
    """Normalising takes quadratic time: these would need a second."""
    flood = "a" + "\u0315\u0300" * 16_000 + "@example.com"
    begun = time.process_time()
    with pytest.raises(ValueError, match=str(MAX_LENGTH)):
        normalise(flood)
    assert time.process_time() - begun < 0.1


@given(st.text(), st.text())
def test_normalising_twice_changes_nothing(local: str, domain: str) -> None:
    try:
        once = normalise(f"{local}@{domain}.com")
    except ValueError:
        return
    assert normalise(once) == once
    assert once.isprintable()


# Where lower-casing alone would leave two spellings: accents that compose only afterwards.
@given(st.text(alphabet="aoΐΰϔύώµſẞßİıΣσς\u0301\u0307\u0308\u0345\u05b0A@.ÅΩ"))
def test_no_spelling_survives_beside_its_normal_form(text: str) -> None:
    try:
        once = normalise(text + "@example.com")
    except ValueError:
        return
    assert normalise(once) == once
