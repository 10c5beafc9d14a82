"""Equal addresses have one stored form; look-alikes with invisible characters are refused."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finpay import unicode_text
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
    ("a@1.example.com",              "a@1.example.com"),
    ("é" * 241 + "@example.com",     None),
    ("a" * 242 + "@example.com",     None),                      # 254 characters: the last that fit
]  # fmt: skip


# One domain, as a browser, a mail client and a full-width keyboard write it (IDNA 2008).
DOMAINS = [
    ("x@xn--bcher-kva.example",      "x@bücher.example"),
    ("x@bücher.example",             "x@bücher.example"),
    ("x@bu\u0308cher.example",       "x@bücher.example"),
    ("X@XN--BCHER-KVA.Example",      "x@bücher.example"),
    ("x@BÜCHER.example",             "x@bücher.example"),
    ("x@ｂüｃｈｅｒ.example",            "x@bücher.example"),
    ("x@xn--fiqs8s",                 None),                      # still one label
    ("x@xn--fiqs8s.xn--fiqs8s",      "x@中国.中国"),
    ("x@xn--strae-oqa.example",      "x@straße.example"),        # not ss: IDNA 2003 did that
    ("x@xn--3xa.example",            "x@ς.example"),             # nor σ
    ("x@sub.xn--bcher-kva.example",  "x@sub.bücher.example"),
    ("x@a--b.example",               "x@a--b.example"),
    ("x@r3---sn-abc.example",        "x@r3---sn-abc.example"),
]  # fmt: skip


@pytest.mark.fault("I3")
@pytest.mark.parametrize(("typed", "stored"), DOMAINS)
@pytest.mark.contract("1.1.5")
def test_international_domain_is_stored_in_unicode(typed: str, stored: str | None) -> None:
    if stored is None:
        with pytest.raises(ValueError, match="domain"):
            normalise(typed)
    else:
        assert normalise(typed) == stored


BAD_DOMAINS = [
    "xn--.example", "xn--a.example", "xn--abc-.example", "xn--bcher-kv!.example",
    "xn--mgba3gch31f060k.example",  # decodes to a label with a zero-width non-joiner
    "a\u0301\u0301_.example", "\u0301a.example", "a٣.example", "☃.example", "a/é.example",
    f"{'a' * 64}.example", f"{'é' * 60}.example", "é..example", "é.example.", "-é.example",
    f"{'é.' * 100}example",  # 207 characters, 807 in ASCII
]  # fmt: skip


@pytest.mark.parametrize("domain", BAD_DOMAINS)
def test_domain_that_dns_can_not_hold_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match=r"domain|invisible"):
        normalise(f"x@{domain}")


@pytest.mark.parametrize(
    "domain", ["".join(["a" * 63, ".", "b" * 63, ".example"]), "é" * 50 + ".é"]
)
def test_longest_labels_are_accepted(domain: str) -> None:
    assert normalise(f"x@{domain}") == f"x@{domain}"


# Code points that make alice@example.com with one of them look like the address without it.
INVISIBLE = [
    (first + last) // 2 for first, last in unicode_text.DEFAULT_IGNORABLE + unicode_text.BLANK
] + [0xFE0F, 0x115F, 0x1160, 0x3164, 0xFFA0, 0x034F, 0x061C, 0x180B, 0x200B, 0x202E, 0x2060,
     0x2066, 0xFEFF, 0xE0100, 0x2800, 0x00A0, 0x3000, 0x0085, 0x2028, 0xE000, 0x0378]  # fmt: skip


@pytest.mark.fault("I2")
@pytest.mark.parametrize("code_point", INVISIBLE, ids=hex)
@pytest.mark.parametrize(
    "text", ["ali{}ce@example.com", "alice@exa{}mple.com", "{}alice@example.com"]
)
def test_homograph_with_an_invisible_character_is_refused(text: str, code_point: int) -> None:
    with pytest.raises(ValueError, match=r"invisible|domain"):
        normalise(text.format(chr(code_point)))


@pytest.mark.parametrize(("typed", "stored"), SPELLINGS)
def test_equal_addresses_have_one_stored_form(typed: str, stored: str | None) -> None:
    assert normalise(typed) == (stored or typed)


REFUSED = [
    # text                           a word of the reason
    ("",                             "one @"),
    ("@",                            "one @"),
    ("alice",                        "one @"),
    ("=?utf-8?q?a?=@example.com",    "=?"),
    ("＝？x@example.com",             "=?"),
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
def test_invalid_address_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        normalise(text)
    assert reason in str(refusal.value)


def test_long_run_of_accents_is_refused_in_linear_time() -> None:
    """Normalising takes quadratic time: these would need a second."""
    flood = "a" + "\u0315\u0300" * 16_000 + "@example.com"
    begun = time.process_time()
    with pytest.raises(ValueError, match=str(MAX_LENGTH)):
        normalise(flood)
    assert time.process_time() - begun < 0.1


@given(st.text(), st.text())
@example("x", "xn--bcher-kva")
@example("x", "xn--1ch")
def test_normalising_twice_changes_nothing(local: str, domain: str) -> None:
    try:
        once = normalise(f"{local}@{domain}.com")
    except ValueError:
        return
    assert normalise(once) == once
    assert once.isprintable()


# Where lower-casing alone would leave two spellings: accents that compose only afterwards.
@given(st.text(alphabet="aoΐΰϔύώµſẞßİıΣσς\u0301\u0307\u0308\u0345\u05b0A@.ÅΩ"))
def test_composed_and_decomposed_forms_are_equal(text: str) -> None:
    try:
        once = normalise(text + "@example.com")
    except ValueError:
        return
    assert normalise(once) == once
