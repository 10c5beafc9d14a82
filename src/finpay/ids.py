"""Prefixed, time-ordered ids: TypeID 0.3 over UUIDv7.

A public id is `prefix_` + 26 characters of Crockford base32 (lower case), for example
`txn_01h455vb4pex5vsknk084sn02q`. In PostgreSQL the same id is a plain `uuid`.
Source: https://github.com/jetify-com/typeid/tree/main/spec
"""

import secrets
import time
from typing import Final, Literal, Protocol, get_args
from uuid import UUID

try:
    from uuid_utils import uuid7 as _uuid7_value
    from uuid_utils.compat import uuid7 as _uuid7
except ImportError:  # `pip install finpay` is the client alone, which makes a few keys a second

    def _uuid7() -> UUID:  # type: ignore[misc]  # only ever called without arguments
        """RFC 9562 §5.7: 48 bits of milliseconds, 74 random bits."""
        high, low = divmod(secrets.randbits(74), 2**62)
        milliseconds = time.time_ns() // 1_000_000
        return UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)

    _uuid7_value = _uuid7  # type: ignore[assignment]

Prefix = Literal[
    "usr", "acc", "txn", "ent", "evt", "whe", "whd", "ses", "req",
    "key", "hld", "wdr", "prq", "sch", "apr",
]  # fmt: skip
PREFIXES: Final = frozenset(get_args(Prefix))

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
# Maps the symbols to those that int() reads in base 32, and all other bytes to one that it refuses.
_DIGITS: Final = bytes(
    ord("0123456789abcdefghijklmnopqrstuv"[_ALPHABET.index(chr(byte))])
    if chr(byte) in _ALPHABET
    else ord("?")
    for byte in range(256)
)
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
SUFFIX_LENGTH: Final = 26


class _HasInt(Protocol):
    """A UUID of the standard library or of uuid_utils."""

    @property
    def int(self) -> int: ...


class MalformedId(ValueError):
    """The text is not a TypeID of the expected kind."""


def new_uuid() -> UUID:
    """A UUIDv7: the first 48 bits are milliseconds, so newer ids sort later."""
    return _uuid7()


def new_request_id() -> str:
    """A new `req_…`. uuid_utils' own type saves the UUID object, which every request would pay."""
    return encode("req", _uuid7_value())


def encode(prefix: Prefix, value: _HasInt) -> str:
    """The public form of a UUID: `encode("acc", uuid)` is `acc_…`."""
    n = value.int
    two = _PAIRS
    # Unrolled: a loop takes twice as long, and a transfer encodes four ids.
    return (
        f"{prefix}_{two[n >> 120]}{two[n >> 110 & 1023]}{two[n >> 100 & 1023]}{two[n >> 90 & 1023]}"
        f"{two[n >> 80 & 1023]}{two[n >> 70 & 1023]}{two[n >> 60 & 1023]}{two[n >> 50 & 1023]}"
        f"{two[n >> 40 & 1023]}{two[n >> 30 & 1023]}{two[n >> 20 & 1023]}{two[n >> 10 & 1023]}"
        f"{two[n & 1023]}"
    )


def decode(prefix: Prefix, text: str) -> UUID:
    """The UUID of a public id. MalformedId if the text is not one, or has another prefix."""
    head, _, suffix = text.partition("_")
    # 26 symbols have 130 bits, a UUID has 128: the first symbol is at most 7.
    if head != prefix or len(suffix) != SUFFIX_LENGTH or suffix[0] > "7":
        raise MalformedId(
            f"expected an id like {prefix}_… with {SUFFIX_LENGTH} characters after the _"
        )
    try:
        # Three times faster than a loop over the symbols.
        return UUID(int=int(suffix.encode("ascii", "replace").translate(_DIGITS), 32))
    except ValueError:
        invalid = next(symbol for symbol in suffix if symbol not in _ALPHABET)
        raise MalformedId(f"the id contains the invalid character {invalid!r}") from None
