"""Generates the fonts of statements as PDF: src/finpay/statements/fonts.

Noto Sans is a variable font of 2 MB that a program would need seconds to load; statements need two
of its weights, without the tables that shape text. DejaVu Sans has letters that Noto Sans lacks:
Arabic, Hebrew, Armenian, Georgian, symbols. Run it by hand when either font has a new version.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

FONTS: Final = Path(__file__).parents[1] / "src/finpay/statements/fonts"
WEIGHTS: Final = {"NotoSans-Regular.ttf": 400, "NotoSans-SemiBold.ttf": 600}
FALLBACK: Final = "DejaVuSans.ttf"
DROPPED: Final = ("GSUB", "GPOS", "GDEF", "STAT", "HVAR", "MVAR", "BASE", "DSIG", "kern", "FFTM")


def generate() -> None:
    """Writes the three fonts and their licences."""
    noto = files("fontpkg_noto_sans")
    for name, weight in WEIGHTS.items():
        with (noto / "files/NotoSans[wdth,wght].ttf").open("rb") as file:
            font = instancer.instantiateVariableFont(TTFont(file), {"wght": weight, "wdth": 100})
        known = set(font.getBestCmap())
        _save(font, known, name)
    _write("LICENSE-NotoSans", (noto / "LICENSE").read_text("utf-8"))
    dejavu = files("matplotlib") / "mpl-data/fonts/ttf"
    with (dejavu / FALLBACK).open("rb") as file:
        font = TTFont(file)
        _save(font, set(font.getBestCmap()) - known, FALLBACK)
    _write("LICENSE-DejaVuSans", (dejavu / "LICENSE_DEJAVU").read_text("utf-8"))


def _save(font: Any, characters: set[int], name: str) -> None:
    """Only the glyphs of `characters`, without hints and shaping."""
    options = Options(
        hinting=False, layout_features=[], name_IDs=["*"], notdef_outline=True, glyph_names=False
    )
    options.drop_tables += DROPPED
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    font["head"].modified = font["head"].created  # the same bytes at each run
    font.recalcTimestamp = False
    font.save(FONTS / name)


def _write(name: str, text: str) -> None:
    lines = (line.rstrip() for line in text.splitlines())
    (FONTS / name).write_text("\n".join(lines).strip() + "\n", "utf-8")


if __name__ == "__main__":
    generate()
