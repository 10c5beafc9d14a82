"""Strict JSON: bytes → value → a checked schema. Time grows with the length of the body.

Stricter than JSON asks for, because it is about money: a duplicate member, a NaN, a BOM, broken
UTF-8 or too many values is 400; a float where an integer belongs, an object of more than
MAX_MEMBERS, a NUL or a lone surrogate in any text is 422.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from finpay.errors import Code, FinPayError, validation_failed

MAX_DEPTH: Final = 32  # far above every schema
MAX_MEMBERS: Final = 1_000  # of one object: far above every schema, and metadata has 50
CHUNK_BYTES: Final = 16_384
MAX_INTEGER_DIGITS: Final = 19  # longer integers are out of range, and slow to read
# Characters of a member's name and of a message in an error: the client's texts may be as long as
# the body.
MAX_QUOTED: Final = 64
MAX_DETAIL: Final = 300

Schema = TypeVar("Schema", bound=msgspec.Struct)

_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_MEMBER_ERRORS: Final = {
    "Object contains unknown field `": "unknown",
    "Object missing required field `": "missing",
}
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER: Final = b"0" * (MAX_INTEGER_DIGITS + 1)
# The escapes that can spell a NUL or a lone surrogate. As bytes of a text both are refused before.
_SUSPECT: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class _DuplicateMember(ValueError):
    pass


def decode(raw: bytes, max_values: int) -> Any:
    """The JSON value of a body. 400 if it is not JSON, or deeper or larger than the bounds."""
    _check_size(raw, max_values)
    decoder = _LONG_DECODER if _LONG_INTEGER in raw.translate(_ZEROS) else _DECODER
    try:
        return decoder.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8 (byte {error.start})") from None
    except _DuplicateMember as error:
        raise _malformed(f"the member {error} occurs twice in one object") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError as error:
        raise _malformed(str(error)) from None


def check_storable(raw: bytes, value: Any) -> None:
    """422 for a text that PostgreSQL can't store; `value` was decoded from `raw`."""
    if _SUSPECT.search(raw) is None:
        return
    path = _find_unstorable(value)
    if path is not None:
        raise validation_failed(
            "The text has a character that can't be stored: \\u0000, or half of a surrogate pair "
            "(\\ud800 to \\udfff alone).",
            pointer="/".join(["#", *map(_pointer_token, reversed(path))]),
        )


def convert(value: Any, schema: type[Schema]) -> Schema:
    """The checked schema. 422 names the first member that does not fit."""
    try:
        return msgspec.convert(value, schema, strict=True)
    except msgspec.ValidationError as error:
        raise _not_valid(str(error)) from None


def _check_size(raw: bytes, max_values: int) -> None:
    """Bounds depth and number of values before anything is decoded."""
    openers = raw.count(b"[") + raw.count(b"{")
    if openers <= MAX_DEPTH and openers + raw.count(b",") < max_values:
        return
    outside = _outside_of_strings(raw, max_values)
    if outside is None:
        raise _malformed(f"it has more than {max_values} values")
    if _is_too_deep(outside):
        raise _malformed(f"it is nested deeper than {MAX_DEPTH} levels")


def _outside_of_strings(raw: bytes, max_values: int) -> bytes | None:
    """What is between the strings; None for more values, or more strings than values and names.

    Methods of bytes alone: a step of Python for each token of 1 MiB stops the event loop for 0.5 s.
    In chunks, so that it ends early and its many small strings take the same memory again.
    """
    unescaped = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside, values, quotes = [], 0, 0
    for start in range(0, len(unescaped), CHUNK_BYTES):
        parts = unescaped[start : start + CHUNK_BYTES].split(b'"')
        outside.append(b"".join(parts[quotes % 2 :: 2]))
        quotes += len(parts) - 1
        values += sum(map(outside[-1].count, (b"[", b"{", b",")))
        if values > max_values or quotes > 4 * max_values:
            return None
    return b"".join(outside)


def _is_too_deep(outside: bytes) -> bool:
    """Takes the innermost brackets away MAX_DEPTH times. The decoder refuses a missing bracket."""
    brackets = outside.translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets or brackets.startswith(b"[" * MAX_DEPTH)


def _find_unstorable(value: Any) -> list[str] | None:
    """The way to the first text that can't be stored, innermost step first; built only for one."""
    if isinstance(value, str):
        return None if _is_storable(value) else []
    if isinstance(value, dict):
        for name, member in value.items():
            if not _is_storable(name):
                return []
            path = _find_unstorable(member)
            if path is not None:
                return [*path, name]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            path = _find_unstorable(item)
            if path is not None:
                return [*path, str(index)]
    return None


def _is_storable(text: str) -> bool:
    if "\x00" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _malformed(why: str) -> FinPayError:
    return FinPayError(Code.MALFORMED_JSON, f"The body is not valid JSON: {why}.")


def _not_valid(message: str) -> FinPayError:
    """Msgspec's message as one of ours: its path becomes a JSON pointer."""
    what, _, where = message.rpartition(" - at `")
    if not what:
        what, where = message, ""
    steps = [name or index for name, index in _STEP.findall(where[-MAX_DETAIL:].removesuffix("`"))]
    for beginning, fault in _MEMBER_ERRORS.items():
        if what.startswith(beginning):
            name = what[len(beginning) : -1]
            steps.append(name)
            what = f"The member `{_quoted(name)}` is {fault}"
    pointer = "/".join(["#", *map(_pointer_token, steps)])
    detail = _quoted(what, MAX_DETAIL).rstrip(".") + "."
    if steps[-1:] == ["amount"] and what.startswith("Expected `int`,"):
        detail += " Amounts are integers in minor units: 25.00 is 2500."
    return validation_failed(detail, pointer=pointer)


def _pointer_token(step: str) -> str:
    """RFC 6901."""
    return _quoted(step).replace("~", "~0").replace("/", "~1")


def _quoted(text: str, length: int = MAX_QUOTED) -> str:
    """Text of the client in a response: short, and nothing that could not be encoded."""
    short = text if len(text) <= length else f"{text[:length]}…"
    return short.encode("utf-8", "replace").decode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) == 1:
        ((name, value),) = pairs
        return {name: value}  # in two thirds of the time of dict()
    members = dict(pairs)
    if len(members) == len(pairs) <= MAX_MEMBERS:
        return members
    if len(pairs) > MAX_MEMBERS:
        raise validation_failed(f"An object has more than {MAX_MEMBERS} members.")
    ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
    raise _DuplicateMember(json.dumps(_quoted(twice), ensure_ascii=False))


def _bounded_integer(digits: str) -> int:
    if len(digits.lstrip("-")) <= MAX_INTEGER_DIGITS:
        return int(digits)
    return -(10**MAX_INTEGER_DIGITS) if digits[0] == "-" else 10**MAX_INTEGER_DIGITS


def _float(_: str) -> float:
    """No schema has a float, and 1.0 must not pass for 1: NaN fits nowhere."""
    return float("nan")


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _decoder(parse_int: Callable[[str], int]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_object,
        parse_int=parse_int,
        parse_float=_float,
        parse_constant=_constant,
    )


# Where no number is long int() reads them itself: a function of Python for each number takes as
# long as all the rest of reading a list of numbers.
_DECODER: Final = _decoder(int)
_LONG_DECODER: Final = _decoder(_bounded_integer)
