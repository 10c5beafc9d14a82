"""The Accept header (RFC 9110 §12.5.1), where a route has several media types."""

import re
from collections.abc import Mapping
from typing import Final

_QUALITY: Final = re.compile(r"[01](\.\d{0,3})?", re.ASCII)
MAX_RANGES: Final = 32  # browsers send about eight


def preferred(accept: str, offered: Mapping[str, str], default: str) -> str:
    """The value of the offered media type that the client wants most; of equal ones the first
    offered. `default` for a header that names none of them."""
    wanted = _qualities(accept)
    best, best_quality = default, 0
    for media_type, value in offered.items():
        family = media_type.partition("/")[0]
        quality = next(
            (wanted[each] for each in (media_type, f"{family}/*", "*/*") if each in wanted), 0
        )
        if quality > best_quality:
            best, best_quality = value, quality
    return best


def _qualities(accept: str) -> dict[str, int]:
    """Media ranges with their weights in thousandths; one with a malformed weight is left out."""
    found: dict[str, int] = {}
    for each in accept.split(",")[:MAX_RANGES]:
        media_range, *parameters = (part.strip().lower() for part in each.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        if _QUALITY.fullmatch(weight):
            found[media_range] = min(1000, int(weight.replace(".", "").ljust(4, "0")))
    return found
