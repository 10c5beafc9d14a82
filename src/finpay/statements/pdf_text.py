"""Text on a page: embedded fonts, a fallback for letters that they lack, line breaks.

Text is drawn glyph by glyph and is never markup. A character in no font is drawn as a box.
"""

import unicodedata
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files
from itertools import groupby
from typing import Final, Literal

from fpdf import FPDF
from fpdf.bidi import BidiParagraph
from fpdf.fonts import CoreFont, TTFFont

REGULAR: Final = "regular"
BOLD: Final = "bold"
BOX: Final = "\u25a1"
NO_WIDTH: Final = 1000.0  # wider than a page
MAX_CACHED_WIDTHS: Final = 20_000  # characters of one document

Face = Literal["regular", "bold"]
Colour = tuple[int, int, int]

_FALLBACK: Final = "fallback"
_FILES: Final = {
    REGULAR: "NotoSans-Regular.ttf",
    BOLD: "NotoSans-SemiBold.ttf",
    _FALLBACK: "DejaVuSans.ttf",
}
_MEASURED_PT: Final = 1000
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "RLE", "RLO", "RLI"})


@dataclass(frozen=True, slots=True)
class Style:
    """How a text is drawn."""

    size_pt: float
    colour: Colour
    face: Face = "regular"


class Writer:
    """Draws text on the pages of one document."""

    def __init__(self, pdf: FPDF) -> None:
        self._pdf = pdf
        folder = files("finpay.statements") / "fonts"
        for name, file in _FILES.items():
            pdf.add_font(name, fname=str(folder / file))
        self._known = {name: _characters(pdf.fonts[name]) for name in _FILES}
        self._advance = lru_cache(MAX_CACHED_WIDTHS)(self._measure)

    def write(self, x: float, y: float, text: str, style: Style) -> None:
        """Draws one line from `x`, its baseline at `y`."""
        self._pdf.set_text_color(*style.colour)
        self._pdf.set_fill_color(*style.colour)  # the same, so that no colour is set for each text
        for font, run in groupby(_visual(text), key=lambda each: self._font(each, style.face)):
            part = "".join(run)
            self._pdf.set_font(font, size=style.size_pt)
            self._pdf.text(x, y, part if self._draws(part, font) else BOX * len(part))
            x += self.width(part, style.size_pt, style.face)

    def write_right(
        self, x: float, y: float, text: str, style: Style, max_width: float = NO_WIDTH
    ) -> None:
        """Draws one line that ends at `x`, smaller where it is wider than `max_width`."""
        width = self.width(text, style.size_pt, style.face)
        if width > max_width:
            style = replace(style, size_pt=style.size_pt * max_width / width)
        self.write(x - min(width, max_width), y, text, style)

    def width(self, text: str, size_pt: float, face: Face = "regular") -> float:
        return sum(self._advance(each, face) for each in text) * size_pt / _MEASURED_PT

    def lines(
        self, text: str, max_width: float, size_pt: float, face: Face = "regular"
    ) -> list[str]:
        """The text as lines of at most `max_width`: broken between words, or in one too long."""
        found: list[str] = []
        line = ""
        for word in text.split(" "):
            longer = f"{line} {word}" if line else word
            if self.width(longer, size_pt, face) <= max_width:
                line = longer
                continue
            if line:
                found.append(line)
            line = word
            while self.width(line, size_pt, face) > max_width:
                end = self._fitting(line, max_width, size_pt, face)
                found.append(line[:end])
                line = line[end:]
        return [*found, line] if line else found

    def _fitting(self, text: str, max_width: float, size_pt: float, face: Face) -> int:
        """How many characters fit; at least one."""
        end = 1
        while end < len(text) and self.width(text[: end + 1], size_pt, face) <= max_width:
            end += 1
        return end

    def _font(self, character: str, face: Face) -> str:
        known = ord(character) in self._known[face]
        return face if known else _FALLBACK

    def _draws(self, text: str, font: str) -> bool:
        return all(ord(each) in self._known[font] for each in text)

    def _measure(self, character: str, face: Face) -> float:
        font = self._font(character, face)
        self._pdf.set_font(font, size=_MEASURED_PT)
        return self._pdf.get_string_width(character if self._draws(character, font) else BOX)


def clean(text: str) -> str:
    """One line of visible characters: white space is a space, controls and formats are dropped."""
    if text.isascii() and text.isprintable():
        return text.strip()
    kept = (each for each in text if each.isspace() or _is_visible(each))
    return " ".join("".join(kept).split())


@cache
def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn"}


def _visual(text: str) -> str:
    """In the order in which it is drawn from left to right."""
    if text.isascii() or not any(map(_is_right_to_left, text)):
        return text
    return BidiParagraph(text=text).get_reordered_string()


@cache
def _is_right_to_left(character: str) -> bool:
    return unicodedata.bidirectional(character) in _RIGHT_TO_LEFT


def _characters(font: CoreFont | TTFFont) -> frozenset[int]:
    assert isinstance(font, TTFFont)  # noqa: S101  all of _FILES are
    return frozenset(font.cmap)
