"""Strict JSON: bytes → value → a checked schema. Time grows with the length of the body.

Stricter than JSON asks for, because it is about money: a duplicate member, a NaN, a BOM, broken
UTF-8 or too many values is 400; a float where an integer belongs, a NUL or a lone surrogate in any
text is 422.
"""

import json
import re
from collections import Counter
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from finpay.errors import Code, FinPayError, validation_failed

MAX_DEPTH: Final = 32  # far above every schema
MAX_INTEGER_DIGITS: Final = 19  # longer integers are out of range, and slow to read
MAX_QUOTED: Final = (
    64  # characters of a member's name in an error: names may be as long as the body
)

Schema = TypeVar("Schema", bound=msgspec.Struct)

# A string as one token, closed or not: possessive, so that no input makes the engine go back.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_TOKEN: Final = re.compile(_STRING + rb"|[\[{,]", re.DOTALL)
_TO_BRACKET: Final = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+([\[\]{}])", re.DOTALL)
_WHERE: Final = re.compile(r"^(?P<what>.*?) - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_MEMBER: Final = re.compile(r"(?:unknown|required) field `(?P<name>.*?)`", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class _DuplicateMember(ValueError):
    pass


def decode(raw: bytes, max_values: int) -> Any:
    """The JSON value of a body. 400 if it is not JSON, or deeper or larger than the bounds."""
    _check_size(raw, max_values)
    try:
        return _DECODER.decode(raw.decode("utf-8"))
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
    if b"\\u" not in raw:  # only an escape can spell a NUL or a lone surrogate
        return
    path = _find_unstorable(value)
    if path is not None:
        raise validation_failed(
            "The text has a NUL or a lone surrogate, which can't be stored.",
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
    if openers > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise _malformed(f"it is nested deeper than {MAX_DEPTH} levels")
    if openers + raw.count(b",") >= max_values and _has_more_values(raw, max_values):
        raise _malformed(f"it has more than {max_values} values")


def _depth(raw: bytes) -> int:
    """How deep it is nested; counted no further than one level beyond MAX_DEPTH."""
    depth = deepest = 0
    bracket = _TO_BRACKET.match(raw)
    while bracket is not None and deepest <= MAX_DEPTH:
        depth += 1 if bracket[1] in b"[{" else -1
        deepest = max(deepest, depth)
        bracket = _TO_BRACKET.match(raw, bracket.end())
    return deepest


def _has_more_values(raw: bytes, max_values: int) -> bool:
    separators = (token for token in _TOKEN.finditer(raw) if token[0] in b"[{,")
    return next(islice(separators, max_values, None), None) is not None


def _find_unstorable(value: Any) -> list[str] | None:
    """The way to the first text that can't be stored, innermost step first; built only for one."""
    if isinstance(value, str):
        return None if "\x00" not in value and _is_unicode(value) else []
    if isinstance(value, dict):
        for name, member in value.items():
            if _find_unstorable(name) is not None:
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


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _malformed(why: str) -> FinPayError:
    return FinPayError(Code.MALFORMED_JSON, f"The body is not valid JSON: {why}.")


def _not_valid(message: str) -> FinPayError:
    """Msgspec's message as one of ours: its path becomes a JSON pointer."""
    where = _WHERE.match(message)
    what, path = (where["what"], where["path"]) if where else (message, "")
    steps = [name or index for name, index in _STEP.findall(path)]
    member = _MEMBER.search(what)
    if member is not None:
        steps.append(member["name"])
        what = what.replace(member["name"], _quoted(member["name"]), 1)
    pointer = "/".join(["#", *map(_pointer_token, steps)])
    detail = what.replace("Object ", "The object ").rstrip(".") + "."
    if steps[-1:] == ["amount"] and what.startswith("Expected `int`,"):
        detail += " Amounts are integers in minor units: 25.00 is 2500."
    return validation_failed(detail, pointer=pointer)


def _pointer_token(step: str) -> str:
    """RFC 6901."""
    return _quoted(step).replace("~", "~0").replace("/", "~1")


def _quoted(text: str) -> str:
    """Text of the client in a response: short, and nothing that could not be encoded."""
    short = text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…"
    return short.encode("utf-8", "replace").decode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise _DuplicateMember(json.dumps(_quoted(twice), ensure_ascii=False))
    return members


def _integer(digits: str) -> int:
    if len(digits) <= MAX_INTEGER_DIGITS:
        return int(digits)
    return -(10**MAX_INTEGER_DIGITS) if digits[0] == "-" else 10**MAX_INTEGER_DIGITS


def _float(_: str) -> float:
    """No schema has a float, and 1.0 must not pass for 1: NaN fits nowhere."""
    return float("nan")


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
