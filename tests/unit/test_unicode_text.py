"""The tables of invisible characters, and the search for them in a text."""

import sys
import unicodedata

import pytest

from finpay.unicode_text import (
    BLANK,
    DEFAULT_IGNORABLE,
    has_blank,
    has_default_ignorable,
)


@pytest.mark.parametrize("table", [DEFAULT_IGNORABLE, BLANK])
def test_ranges_are_sorted_and_do_not_overlap(table: tuple[tuple[int, int], ...]) -> None:
    bounds = [bound for pair in table for bound in pair]
    assert bounds == sorted(bounds)
    assert len({first for first, _ in table}) == len(table)
    assert bounds[0] > 0x7F, "ASCII text is not searched"


def test_the_table_has_as_many_code_points_as_the_property() -> None:
    """4 174 in Unicode 17.0; the number is at the end of the property's list."""
    assert sum(last - first + 1 for first, last in DEFAULT_IGNORABLE) == 4_174


def test_format_characters_are_ignorable_or_visible() -> None:
    """Every format character that Python knows, except those that are drawn as a sign."""
    visible = {"ARABIC", "SYRIAC", "KAITHI", "INTERLINEAR", "EGYPTIAN"}  # first words of the names
    for code_point in range(sys.maxunicode + 1):
        character = chr(code_point)
        if unicodedata.category(character) == "Cf" and not has_default_ignorable(character):
            assert unicodedata.name(character).split()[0] in visible, hex(code_point)


TEXTS = [
    # text                      ignorable  blank
    ("Alice",                   False,     False),
    ("",                        False,     False),
    ("Zoë Müller",              False,     False),
    ("मीना",                     False,     False),
    ("张伟",                     False,     False),
    ("مريم",                    False,     False),  # right to left by itself
    ("Ali\u200bce",             True,      False),
    ("Alice\ufe0f",             True,      False),
    ("\u3164",                  True,      False),
    ("\u115f\u1160",            True,      False),
    ("\U000e0041",              True,      False),
    ("\u2800",                  False,     True),
    ("Al\u202eeci",             True,      False),
    ("\u2067Alice\u2069",       True,      False),
    ("Alice\u200f",             True,      False),
    ("\u061cAlice",             True,      False),
]  # fmt: skip


@pytest.mark.fault("I2")
@pytest.mark.parametrize(("text", "ignorable", "blank"), TEXTS)
def test_text_is_classified(text: str, *, ignorable: bool, blank: bool) -> None:
    assert has_default_ignorable(text) is ignorable
    assert has_blank(text) is blank
