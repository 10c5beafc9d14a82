"""Results of operators' commands as text for people: amounts in major units, no empty members."""

import json
from collections.abc import Mapping
from typing import Any, Final

_AMOUNTS: Final = frozenset(
    {"amount", "captured_amount", "refunded_amount", "remaining", "balance", "available", "held",
     "balance_after"}
)  # fmt: skip

_MARKS: Final = ('"', "=", ", ", ": ", "  ")  # between the members of a line, and around them
_LEFT_OUT: Final = frozenset({"object", "currency"})  # amounts are shown with their currency


def for_people(members: Mapping[str, Any]) -> dict[str, object]:
    """The members of a resource by their names, those without a value and lists left out."""
    shown: dict[str, object] = {}
    for name, value in members.items():
        if name == "limits":
            shown |= _limits(value, members["currency"])
        elif name not in _LEFT_OUT and value not in (None, {}) and not isinstance(value, list):
            shown[name] = _text(name, value, members.get("currency"))
    return shown


def _text(name: str, value: Any, currency: str | None) -> object:
    if name in _AMOUNTS and currency is not None:
        return _money(value, currency)
    if isinstance(value, Mapping):
        return ", ".join(f"{_cell(key)}: {_cell(each)}" for key, each in value.items())
    return _cell(value) if isinstance(value, str) else value


def _cell(text: str) -> str:
    """In quotes where it could be read as several members of a line: users write it."""
    line = _line(text)
    if any(mark in line for mark in _MARKS):
        return json.dumps(line, ensure_ascii=False)
    return line


def _line(text: str) -> str:
    """On one line, and without what a terminal would obey: users write descriptions."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _limits(limits: Mapping[str, Any], currency: str) -> dict[str, object]:
    shown: dict[str, object] = {
        "single limit": _limit(limits["single"], currency),
        "daily limit": _limit(limits["daily"], currency),
        "sent today": _money(limits["sent_today"], currency),
    }
    pending = limits["pending"]
    if pending is not None:
        shown["pending limits"] = (
            f"single {_limit(pending['single'], currency)}, "
            f"daily {_limit(pending['daily'], currency)}, from {pending['effective_at']}"
        )
    return shown


def _limit(amount: int | None, currency: str) -> str:
    return "none" if amount is None else _money(amount, currency)


def _money(amount: int, currency: str) -> str:
    from finpay.money import Money

    return str(Money(amount, currency))
