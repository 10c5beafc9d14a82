"""Reads the headers of answers strictly, as a client that trusts the contract would."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

# A string with two integer parameters (RFC 9651), in FinPay's order and spelling.
_ITEM: Final = re.compile(r'"([a-z_]+)";([a-z])=(\d+);([a-z])=(\d+)')


@dataclass(frozen=True, slots=True)
class LimitState:
    """One tier as an answer tells it: its limit, what is left, and the seconds it has to run."""

    limit: int
    window_s: int
    left: int
    reset_s: int


def parse_report(answer: Any) -> dict[str, LimitState]:
    """The tiers of RateLimit-Policy and RateLimit by name, in order; they have to agree."""
    policies = list(_items(answer.headers["RateLimit-Policy"], "q", "w"))
    states = list(_items(answer.headers["RateLimit"], "r", "t"))
    assert [name for name, *_ in policies] == [name for name, *_ in states]
    budgets = {
        name: LimitState(limit, window_s, left, reset_s)
        for (name, limit, window_s), (_, left, reset_s) in zip(policies, states, strict=True)
    }
    for budget in budgets.values():
        assert 0 <= budget.left <= budget.limit
        assert 1 <= budget.reset_s <= budget.window_s
    return budgets


def _items(text: str, first: str, second: str) -> Iterator[tuple[str, int, int]]:
    for part in text.split(", "):
        item = _ITEM.fullmatch(part)
        assert item is not None, text
        assert (item[2], item[4]) == (first, second), text
        yield item[1], int(item[3]), int(item[5])


def tiers_of(answer: Any) -> dict[str, tuple[int, int]]:
    return {name: (tier.limit, tier.window_s) for name, tier in parse_report(answer).items()}


def left_of(answer: Any) -> dict[str, int]:
    return {name: tier.left for name, tier in parse_report(answer).items()}
