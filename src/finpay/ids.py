"""Prefixed, time-ordered ids: TypeID 0.3 over UUIDv7.

A public id is `prefix_` + 26 characters of Crockford base32 (lower case), for example
`txn_01h455vb4pex5vsknk084sn02q`. In PostgreSQL the same id is a plain `uuid`.
Source: https://github.com/jetify-com/typeid/tree/main/spec
"""

from typing import Final, Literal, get_args
from uuid import UUID

import uuid_utils
from uuid_utils.compat import uuid7

Prefix = Literal["usr", "acc", "txn", "ent", "evt", "whe", "whd", "ses", "req"]
PREFIXES: Final = frozenset(get_args(Prefix))

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {symbol: value for value, symbol in enumerate(_ALPHABET)}
_PAIRS: Final = [high + low for high in _ALPHABET for low in _ALPHABET]
SUFFIX_LENGTH: Final = 26


class MalformedId(ValueError):
    """The text is not a TypeID of the expected kind."""


def new_uuid() -> UUID:
    """A UUIDv7: the first 48 bits are milliseconds, so newer ids sort later."""
    return uuid7()


def new_request_id() -> str:
    """A fresh `req_…`, without the UUID object in between: every request pays for it."""
    return encode("req", uuid_utils.uuid7())


def encode(prefix: Prefix, value: UUID | uuid_utils.UUID) -> str:
    """The public form of a UUID: `encode("acc", uuid)` is `acc_…`."""
    number = value.int
    pairs = [_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(pairs)}"


def decode(prefix: Prefix, text: str) -> UUID:
    """The UUID behind a public id. MalformedId if it is misspelt or of another kind."""
    head, _, suffix = text.partition("_")
    # 130 bits are spelt, a UUID has 128: the first symbol may not pass 7.
    if head != prefix or len(suffix) != SUFFIX_LENGTH or suffix[0] > "7":
        raise MalformedId(f"expected an id like {prefix}_… with {SUFFIX_LENGTH} characters")
    number = 0
    for symbol in suffix:
        value = _VALUES.get(symbol)
        if value is None:
            raise MalformedId(f"the id has the character {symbol!r}, which no id has")
        number = number << 5 | value
    return UUID(int=number)
