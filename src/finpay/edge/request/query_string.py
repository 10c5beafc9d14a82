"""The query string of a target: names and values as text, each with one reading."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from finpay.errors import invalid_parameter

MAX_QUERY_BYTES: Final = 4_096  # every valid query is far shorter
MAX_PARAMETERS: Final = 32
MAX_QUOTED: Final = 64  # characters of a name in an error

_KEYED: Final = re.compile(r"([a-z_]+)\[(.{1,40})\]", re.DOTALL)
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def pairs(query: bytes) -> list[tuple[str, str]]:
    """Names and values, decoded (application/x-www-form-urlencoded)."""
    if len(query) > MAX_QUERY_BYTES:
        raise invalid_parameter("query", f"The query is longer than {MAX_QUERY_BYTES} bytes.")
    parts = query.split(b"&")
    if len(parts) > MAX_PARAMETERS:
        raise invalid_parameter("query", f"The query has more than {MAX_PARAMETERS} parameters.")
    return [_decoded_pair(part) for part in parts if part]


def name_and_key(name: str) -> tuple[str, str | None]:
    """`metadata[order]` is the key `order` of `metadata`; `metadata[a][b]` is no key."""
    found = _KEYED.fullmatch(name)
    if found is None or not _is_balanced(found[2]):
        return name, None
    return found[1], found[2]


def quoted(name: str) -> str:
    """The name as an error shows it."""
    return name[:MAX_QUOTED]


def _decoded_pair(part: bytes) -> tuple[str, str]:
    """422 that names the parameter, where its name or its value is no text in UTF-8."""
    sent_name, _, sent_value = part.partition(b"=")
    name = sent_name.decode("ascii", "backslashreplace")
    try:
        name = _decoded(sent_name)
        return name, _decoded(sent_value)
    except ValueError:
        raise invalid_parameter(
            quoted(name), "Send names and values in UTF-8, encoded with % and two digits."
        ) from None


def _decoded(text: bytes) -> str:
    """ValueError for a % without two hexadecimal digits, and for what is no UTF-8."""
    if _BAD_ESCAPE.search(text) is not None:
        raise ValueError
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")


def _is_balanced(key: str) -> bool:
    """Whether the bracket behind the key is the partner of that before it."""
    depth = 0
    for character in key:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            return False
    return depth == 0
