"""Rows of CSV (RFC 4180), whose text cells no spreadsheet reads as formulas.

A spreadsheet reads a cell that begins with one of FORMULA_STARTS as a formula, which may send the
sheet's contents away. Names, descriptions and references are written by others, so such a cell gets
an apostrophe, also behind what a spreadsheet skips: white space and invisible characters. Amounts
begin with a minus and stay numbers.
"""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Final

from finpay.unicode_text import has_control, has_default_ignorable

FORMULA_STARTS: Final = frozenset("=+-@＝＋－＠﹦﹢﹣﹫")

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
    return "".join(map(_line, rows)).encode()


def _line(cells: Cells) -> str:
    line = ",".join(cells)
    if line.count(",") == len(cells) - 1 and not ('"' in line or "\r" in line or "\n" in line):
        return line + "\r\n"  # no cell needs quotes, as in most rows: a third of csv's time
    out = StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue()


def _is_skipped(character: str) -> bool:
    return character.isspace() or has_control(character) or has_default_ignorable(character)
