"""Invisible characters, and those that reorder the text around them.

An address or a name that differs from another one only in such a character looks the same on every
screen; a direction control makes a text show other digits or another order than it has.
The table of ignorable ones is a property of Unicode 17.0 (2025-09-09), Default_Ignorable_Code_Point
in https://www.unicode.org/Public/17.0.0/ucd/DerivedCoreProperties.txt
"""

import re
from typing import Final

# First and last code point of each range. Unassigned ones are included: the property reserves them
# for future invisible characters.
DEFAULT_IGNORABLE: Final = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors and vowel separator
    (0x200B, 0x200F),  # zero-width space, joiners, direction marks
    (0x202A, 0x202E),  # direction embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, direction isolates
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFA0, 0xFFA0),  # half-width Hangul filler
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),  # shorthand format controls
    (0x1D173, 0x1D17A),  # musical format controls
    (0xE0000, 0xE0FFF),  # tags, more variation selectors
)
# Bidi_Control in https://www.unicode.org/Public/17.0.0/ucd/PropList.txt, part of the table above.
BIDI_CONTROL: Final = ((0x061C, 0x061C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069))
# General_Category Cc, Zl and Zp: tabs, escapes of terminals, line and paragraph separators.
CONTROL: Final = ((0x0000, 0x001F), (0x007F, 0x009F), (0x2028, 0x2029))
# Visible by property, drawn as an empty space by most fonts.
BLANK: Final = (
    (0x2800, 0x2800),  # Braille pattern blank
    (0xFFFC, 0xFFFC),  # object replacement character
    (0x13441, 0x13442),  # Egyptian hieroglyph blanks
    (0x16FE4, 0x16FE4),  # Khitan filler
    (0x1D159, 0x1D159),  # musical null notehead
)


def has_default_ignorable(text: str) -> bool:
    """Whether the text contains a character that is drawn as nothing."""
    return not text.isascii() and _DEFAULT_IGNORABLE.search(text) is not None


def has_bidi_control(text: str) -> bool:
    """Whether the text contains a character that sets the direction of others."""
    return not text.isascii() and _BIDI_CONTROL.search(text) is not None


def has_blank(text: str) -> bool:
    """Whether the text contains a character, other than a space, that is drawn as a space."""
    return not text.isascii() and _BLANK.search(text) is not None


def has_control(text: str) -> bool:
    """Whether the text contains a control character or a line break, of any kind."""
    return _CONTROL.search(text) is not None


def _any_of(ranges: tuple[tuple[int, int], ...]) -> re.Pattern[str]:
    return re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in ranges)}]")


_DEFAULT_IGNORABLE: Final = _any_of(DEFAULT_IGNORABLE)
_BIDI_CONTROL: Final = _any_of(BIDI_CONTROL)
_BLANK: Final = _any_of(BLANK)
_CONTROL: Final = _any_of(CONTROL)
