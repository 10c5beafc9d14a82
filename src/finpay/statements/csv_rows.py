"""Rows of CSV (RFC 4180), whose text cells no spreadsheet reads as formulas.

A spreadsheet reads a cell that begins with one of FORMULA_STARTS as a formula, which may send the
sheet's contents away. Names, descriptions and references are written by others, so such a cell gets
an apostrophe, also behind what a spreadsheet skips: white space and invisible characters. Amounts
begin with a minus and stay numbers.
"""

import csv
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Final

from finpay.unicode_text import has_control, has_default_ignorable

FORMULA_STARTS: Final = frozenset("=+-@＝＋－＠﹦﹢﹣﹫")

_END: Final = "\r\n"

Cells = Sequence[str]


def text_cell(text: str) -> str:
    """The text, or with an apostrophe what a spreadsheet could read as a formula."""
    if text[:1].isascii() and text[:1].isalnum():
        return text
    first = next((each for each in text if not _is_skipped(each)), "")
    is_formula = first in FORMULA_STARTS or has_control(text[:1])
    return f"'{text}" if is_formula else text


def encode(rows: Iterable[Cells]) -> bytes:
    """Each row with CR LF at its end, in UTF-8."""
    lines: list[str] = []
    quoting = csv.writer(SimpleNamespace(write=lines.append), lineterminator=_END)
    for cells in rows:
        line = ",".join(cells)
        if line.count(",") >= len(cells) or '"' in line or "\r" in line or "\n" in line or not line:
            quoting.writerow(cells)
        else:  # in a quarter of the time
            lines.append(line + _END)
    return "".join(lines).encode()


def _is_skipped(character: str) -> bool:
    return character.isspace() or has_control(character) or has_default_ignorable(character)
