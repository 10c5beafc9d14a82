"""Values for SQL arguments, written as PostgreSQL's text form: plausible ones and hostile ones.

Text reaches every type, also arrays that drivers refuse to send: with other bounds, with more
dimensions, with nulls.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Array:
    """An array whose first element has the index `lower`."""

    elements: "Sequence[Value]"
    lower: int = 1


Value: TypeAlias = bool | int | str | bytes | UUID | Array | list["Value"] | None

_INTEGERS: Final = (-(2**31), -3, -1, 0, 1, 2, 7, 99, 3_600, 10_001, 2**31 - 1)
_BIGINTS: Final = (*_INTEGERS, -(2**63), -(10**12), 2**53 - 1, 2**53, 10**12, 2**63 - 1)
_TEXTS: Final = (
    "",
    " ",
    "\n",
    "x" * 129,
    "x" * 70_000,
    "%s",
    "%1$s%2$s%99$s%%%",
    "%1$2147483647s",
    "%1$-5000000s",
    "transfer",
    "Transfer",
    "hold",
    "capture",
    "refund",
    "withdrawal",
    "cancel",
    "atomic",
    "atomic ",
    "independent",
    "transaction.completed",
    "Transaction.completed",
    "transaction.completed ",
    "transaction.completed\u200b",
    "account.updated",
    "ACCOUNT.UPDATED",
    " account.updated",
    "user.registered",
    "ZAR",
    "zar",
    "ZAR\n",
    "XAU",
    "{}",
    "[]",
    "null",
    '{"a":"' + "b" * 4_090 + '"}',
    '{"a":1}',
    '{"a":{}}',
    "{",
    "'; DROP TABLE ledger.accounts; --",
    "\u202etxt",
    "💸" * 500,
    "\x01",
)
_BYTES: Final = (b"", b"\x00", b"f" * 32, b"f" * 64, b"f" * 65, b"f" * 20_000)
_JSON: Final = (
    "{}",
    "[]",
    "null",
    "1",
    '"{}"',
    '{"a":1e999}',
    '{"a":1e400000}',
    '{"a":9007199254740992}',
    '{"a":-0.1}',
    '{"a":"\\ud800"}',
    '{"a":"\\u0000"}',
    '{"a":1,"a":2}',
    "[" * 1_500 + "]" * 1_500,
    '{"a":' * 1_500 + "{}" + "}" * 1_500,
    '{"a":' * 7 + "{}" + "}" * 7,
    '{"a":"' + "b" * 17_000 + '"}',
    '{"' + '":0,"'.join(map(str, range(2_000))) + '":0}',
)
_TIMES: Final = ("infinity", "-infinity", "epoch", "294276-12-31", "4713-01-01 BC", "now")
_ORIGINS: Final = (
    "(,,,,)",
    "(00000000-0000-0000-0000-000000000000,r,,,)",
    f"({UUID(int=1)},{'r' * 129},,,)",
    f'({UUID(int=1)},r,a,k," ")',
)
_OPERATOR_ORIGINS: Final = (
    "(,,,,,,)",
    r"""(,k,"\\x66",r,,,)""",
    rf"""({UUID(int=1)},k,"\\x66",r,,,)""",
    rf"""({UUID(int=1)},{"k" * 256},"\\x66",r,,,)""",
    rf"""({UUID(int=1)},k,"\\x66",r,,"[]","{{%1$2147483647s}}")""",
)
_EXPIRY_KEYS: Final = (
    "(,,)",
    f"(infinity,{UUID(int=0)},)",
    f"(-infinity,,{UUID(int=1)})",
    "(now,,)",
)
_UUIDS: Final = (UUID(int=0), UUID(int=1), UUID(int=2**128 - 1))

# Per type of an element: makes one. A type without one is a failure of the test, on purpose.
_HOSTILE: Final[dict[str, Callable[[random.Random], Value]]] = {
    "uuid": lambda rng: rng.choice([*_UUIDS, UUID(int=rng.getrandbits(128))]),
    "boolean": lambda rng: rng.choice([True, False]),
    "integer": lambda rng: rng.choice([*_INTEGERS, rng.randint(-(2**31), 2**31 - 1)]),
    "bigint": lambda rng: rng.choice([*_BIGINTS, rng.randint(-(2**63), 2**63 - 1)]),
    "text": lambda rng: rng.choice(_TEXTS),
    "bytea": lambda rng: rng.choice(_BYTES),
    "json": lambda rng: rng.choice(_JSON),
    "timestamp with time zone": lambda rng: rng.choice(_TIMES),
    "ledger.change_origin": lambda rng: rng.choice(_ORIGINS),
    "ledger.expiry_key": lambda rng: rng.choice(_EXPIRY_KEYS),
    "ledger.operator_origin": lambda rng: rng.choice(_OPERATOR_ORIGINS),
}


def hostile(rng: random.Random, sql_type: str, value: Value) -> Value:
    """Null, or another value of the type; an array may keep most of what it has."""
    if rng.random() < 0.1:
        return None
    element = sql_type.removesuffix("[]")
    if element == sql_type:
        return _HOSTILE[element](rng)
    elements = list(value) if isinstance(value, list) and rng.random() < 0.8 else []
    _change(rng, elements, lambda: None if rng.random() < 0.3 else _HOSTILE[element](rng))
    if rng.random() < 0.1:
        return Array(elements, lower=rng.choice([0, -1, 2]))
    if rng.random() < 0.1:
        return [elements]
    return elements


def _change(rng: random.Random, elements: list[Value], make: Callable[[], Value]) -> None:
    if not elements:
        elements.extend(make() for _ in range(rng.choice([0, 1, 1, 2, 3])))
        return
    match rng.choice(["replace", "replace", "replace", "drop", "add", "repeat"]):
        case "replace":
            elements[rng.randrange(len(elements))] = make()
        case "drop":
            del elements[rng.randrange(len(elements))]
        case "add":
            elements.insert(rng.randint(0, len(elements)), make())
        case _:
            elements.append(rng.choice(elements))


def elements(value: Value) -> list[Value]:
    """The elements of an argument that is an array."""
    match value:
        case Array():
            return list(value.elements)
        case list():
            return value
        case _:
            return []


def literal(value: Value) -> str | None:
    """The value as PostgreSQL reads it; None for null."""
    match value:
        case None:
            return None
        case bytes():
            return "\\x" + value.hex()
        case list():
            return "{" + ",".join(map(_element, value)) + "}"
        case Array():
            inner = "{" + ",".join(map(_element, value.elements)) + "}"
            size = len(value.elements)
            return f"[{value.lower}:{value.lower + size - 1}]={inner}" if size else inner
        case _:
            return str(value)


def _element(value: Value) -> str:
    if value is None:
        return "NULL"
    text = literal(value)
    assert text is not None
    if isinstance(value, list | Array):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
