"""JSON bodies of a given size whose reading might cost more than their length."""

import json
from collections.abc import Callable
from typing import Final

from tests.api.assertions import UNKNOWN_ACCOUNT


def filled(before: str, piece: str, after: str, separator: str = "") -> Callable[[int], bytes]:
    """`piece` as often as it fits between `before` and `after`."""

    def make(size: int) -> bytes:
        unit = (separator + piece).encode()
        left = size - len(before.encode()) - len(after.encode()) - len(piece.encode())
        body = before.encode() + piece.encode() + unit * (left // len(unit)) + after.encode()
        assert size - len(unit) - len(piece.encode()) <= len(body) <= size
        return body

    return make


def numbered(before: str, piece: str, after: str) -> Callable[[int], bytes]:
    """Pieces with a different number in each `%d`."""

    def make(size: int) -> bytes:
        pieces, length, number = [], len(before) + len(after), 0
        while length < size - len(piece) - 16:
            pieces.append(piece.replace("%d", str(number)))
            length += len(pieces[-1]) + 1
            number += 1
        return (before + ",".join(pieces) + after).encode()

    return make


def padded(before: str, piece: str, after: str, number: int) -> Callable[[int], bytes]:
    """`number` pieces per MiB, with `%d` their number and `%s` white space up to the size."""

    def make(size: int) -> bytes:
        count = number * size // 2**20
        pieces = [piece.replace("%d", str(each)) for each in range(count)]
        others = len((before + after + "".join(pieces)).encode())
        space = (size - others - count) // count
        return (before + ",".join(pieces) + after).replace("%s", " " * space).encode()

    return make


def long_key_and_zeros(size: int) -> bytes:
    """Half of it a member's name that grows when it is escaped, half of it values behind it."""
    name = "😀" + "/" * (size // 2 - 20)
    zeros = ",0" * ((size // 2 - 20) // 2)
    return f'{{"{name}":["\\u0041"{zeros}]}}'.encode()


def transfers(size: int) -> bytes:
    item = json.dumps(
        {"receiver_id": UNKNOWN_ACCOUNT, "amount": 5, "metadata": {"invoice": "4711 " * 110}},
        separators=(",", ":"),
    )
    return filled('{"mode":"independent","transactions":[', item, "]}", ",")(size)


def receivers(domain: str, number: int) -> Callable[[int], bytes]:
    """A transfer batch whose receivers are named by e-mail; `%d` is their number."""
    item = f'{{"amount":1,"receiver_email":"r%d@{domain}"%s}}'
    return padded('{"mode":"atomic","transactions":[', item, "]}", number)


def international(labels: int) -> str:
    """A domain whose labels all differ, of each other and of those of other numbers."""
    return "".join(f"{'äöüßéèê'[n]}%dзмея{'ж' * 12}." for n in range(labels)) + "example"


SHAPES: Final[dict[str, Callable[[int], bytes]]] = {
    "one long text": filled('{"mode":"', "a", '"}'),
    "one long text of escapes": filled('{"mode":"', "\\u0041", '"}'),
    "one long text of short escapes": filled('{"mode":"', "\\n", '"}'),
    "one long text of emoji": filled('{"mode":"', "😀", '"}'),
    "one long text of brackets": filled('{"mode":"', "[{", '"}'),
    "one long text of quotes": filled('{"mode":"', '\\"[,', '"}'),
    "a text without an end": filled('{"mode":"', "\\\\,", ""),
    "backslashes": filled('["', "\\\\", '"]'),
    "a lone surrogate at the end": filled('["', "\\u0041", '\\ud800"]'),
    "a long key and many values": long_key_and_zeros,
    "a long key": filled('{"', "k", '":1}'),
    "a long key of escapes": filled('{"', "\\u0041", '":1}'),
    "a long key that looks like an error": filled('{"', "unknown field ` - at `$.[1].", '":1}'),
    "a long key before many texts": filled('{"' + "~/" * 2_000 + '":["\\u0041",', '"a"', "]}", ","),
    "many texts behind a missing comma": filled('{"k":["\\u0041"', '"a"', "]}", ","),
    "many members": numbered("{", '"member%d":1', "}"),
    "many members with escapes": numbered("{", '"\\u0041%d":1', "}"),
    "one member many times": filled("{", '"a":1', "}", ","),
    "many zeros": filled("[", "0", "]", ","),
    "many floats": filled("[", "1e999", "]", ","),
    "many empty texts": filled("[", '""', "]", ","),
    "many empty objects": filled("[", "{}", "]", ","),
    "many objects, nested 30 deep": filled("[", '{"a":' * 29 + "1" + "}" * 29, "]", ","),
    "nesting without an end": filled("", "[", ""),
    "nesting in objects without an end": filled("", '{"a":', ""),
    "opened and closed": filled("[", "[[]]", "]", ","),
    "many long integers": filled("[", "9" * 4_000, "]", ","),
    "one long integer": filled("", "9", ""),
    "one long fraction": filled("0.", "9", ""),
    "white space": filled("{", " \n", "}"),
    "commas": filled("[", ",", "]"),
    "a long member of metadata": filled(
        '{"mode":"atomic","transactions":[{"amount":1,"metadata":{"a":"', "é", '"}}]}'
    ),
    "many members of metadata": numbered(
        '{"mode":"atomic","transactions":[{"amount":1,"metadata":{', '"%d":""', "}}]}"
    ),
    "transfers": transfers,
    "as many members as may be": padded("{", '"a\\u0041%d":%s1', "}", 39_000),
    "as many objects as may be": padded("[", '{"\\u0041":%s""}', "]", 19_000),
    "as many nested objects as may be": padded(
        "[", '{"a":' * 29 + "%s1" + "}" * 29, "]", 39_000 // 30
    ),
    "as many texts as may be": padded("[", '"\\u0041%s"', "]", 39_000),
    "as many members of metadata as may be": padded(
        '{"mode":"atomic","transactions":[{"amount":1,"metadata":{', '"%d":"%s"', "}}]}", 39_000
    ),
    "as many transfers as may be": padded(
        '{"mode":"atomic","transactions":[',
        f'{{"amount":1,"receiver_id":"{UNKNOWN_ACCOUNT}",'
        '"description":"\\u0041%s","metadata":{}}',
        "]}",
        990,
    ),
    "a whole transfer batch": padded(
        '{"mode":"atomic","transactions":[',
        f'{{"amount":1,"receiver_id":"{UNKNOWN_ACCOUNT}","description":"{"d" * 450}",'
        f'"metadata":{{"a":"{"m" * 300}"}}%s}}',
        "]}",
        990,
    ),
    "receivers at different domains": receivers("a." * 118 + "d%d.com", 990),
    "receivers at different international domains": receivers(international(7), 990),
    "receivers at one international domain": receivers("bücher." * 7 + "example", 990),
    "receivers at encoded domains": receivers("xn--80ak6aa92e." * 6 + "d%d.com", 990),
    "receivers at domains with too many labels": receivers("xn--e1a." * 28 + "d%d.com", 990),
    "receivers in other letters": padded(
        '{"mode":"atomic","transactions":[',
        '{"amount":1,"receiver_email":"' + "é" * 56 + '%d@example.com"%s}',
        "]}",
        990,
    ),
    "texts without anything between": filled("", '""', ""),
    "bytes that are no UTF-8": lambda size: b'{"mode":"' + b"\xff" * (size - 11) + b'"}',
    "a broken byte at the end": lambda size: b'{"mode":"' + b"a" * (size - 12) + b'\xff"}',
}
