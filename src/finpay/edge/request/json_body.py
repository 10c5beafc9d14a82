"""Strict JSON in: bytes → members → a checked shape.

Stricter than JSON asks for, because it is about money: a duplicate member, a NaN, a BOM or broken
UTF-8 is 400; a float where an integer belongs, a NUL or a lone surrogate in any text is 422.
"""

import json
import re
from collections import Counter
from typing import Any, Final, TypeVar

import msgspec

from finpay.errors import Code, FinPayError, validation_failed

MAX_BODY_BYTES: Final = 64 * 1024  # far above every shape but the one below
MAX_BATCH_BYTES: Final = 1024 * 1024  # a thousand transfers, and who needs more text sends fewer
MAX_INTEGER_DIGITS: Final = 19  # beyond: out of range for sure, and slow to read

Shape = TypeVar("Shape", bound=msgspec.Struct)

_CONTENT_TYPE: Final = re.compile(
    r'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE
)
_WHERE: Final = re.compile(r"^(?P<what>.*?) - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_MEMBER: Final = re.compile(r"(?:unknown|required) field `(?P<name>.*?)`", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class _DuplicateMember(ValueError):
    pass


def check_content_type(content_type: str | None) -> None:
    """415 unless the body calls itself application/json (charset absent or utf-8)."""
    if content_type == "application/json":
        return
    if content_type is None or _CONTENT_TYPE.fullmatch(content_type.strip()) is None:
        raise FinPayError(
            Code.UNSUPPORTED_MEDIA_TYPE, "Send the body with Content-Type: application/json."
        )


def read_members(raw: bytes) -> Any:
    """The JSON value of a body. 400 if it isn't one."""
    try:
        return _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8 (byte {error.start})") from None
    except _DuplicateMember as error:
        raise _malformed(f"the member {error} stands in it twice") from None
    except RecursionError:
        raise _malformed("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError as error:
        raise _malformed(str(error)) from None


def check_texts(raw: bytes, value: Any) -> None:
    """422 for texts that nothing could store; `value` was read from `raw`."""
    if b"\\u" not in raw:  # only an escape can spell a NUL or a lone surrogate
        return
    try:
        _refuse_unstorable(value, "#")
    except RecursionError:  # the reader goes deeper than we do
        raise _malformed("it is nested too deep") from None


def convert(value: Any, shape: type[Shape]) -> Shape:
    """The checked shape. 422 names the first member that does not fit."""
    try:
        return msgspec.convert(value, shape, strict=True)
    except msgspec.ValidationError as error:
        raise _not_valid(str(error)) from None


def _malformed(why: str) -> FinPayError:
    return FinPayError(Code.MALFORMED_JSON, f"The body can't be read as JSON: {why}.")


def _not_valid(message: str) -> FinPayError:
    where = _WHERE.match(message)
    what, path = (where["what"], where["path"]) if where else (message, "")
    steps = [name or index for name, index in _STEP.findall(path)]
    member = _MEMBER.search(what)
    if member is not None:
        steps.append(member["name"])
    pointer = "/".join(["#", *(_escape(step) for step in steps)])
    detail = what.replace("Object ", "The object ").rstrip(".") + "."
    if steps[-1:] == ["amount"] and what.startswith("Expected `int`,"):
        detail += " Amounts are integers in minor units: 25.00 is 2500."
    return validation_failed(detail, pointer=pointer)


def _refuse_unstorable(value: Any, pointer: str) -> None:
    if isinstance(value, str):
        if "\x00" in value or not _is_unicode(value):
            raise validation_failed(
                "The text has a NUL or a lone surrogate, which can't be stored.", pointer=pointer
            )
    elif isinstance(value, dict):
        for name, member in value.items():
            _refuse_unstorable(name, pointer)
            _refuse_unstorable(member, f"{pointer}/{_escape(name)}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_unstorable(item, f"{pointer}/{index}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _escape(step: str) -> str:
    """RFC 6901, and nothing that could not be encoded in the answer."""
    return step.replace("~", "~0").replace("/", "~1").encode("utf-8", "replace").decode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise _DuplicateMember(json.dumps(twice))
    return members


def _integer(digits: str) -> int:
    if len(digits) <= MAX_INTEGER_DIGITS:
        return int(digits)
    return -(10**MAX_INTEGER_DIGITS) if digits[0] == "-" else 10**MAX_INTEGER_DIGITS


def _float(_: str) -> float:
    """No shape has a float, and 1.0 must not pass for 1: NaN fits nowhere."""
    return float("nan")


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
