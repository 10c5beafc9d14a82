"""Parses the rate limit headers strictly, as the contract defines them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

# A string with two integer parameters (RFC 9651), in FinPay's order and spelling.
_ITEM: Final = re.compile(r'"([a-z_]+)";([a-z])=(\d+);([a-z])=(\d+)')


@dataclass(frozen=True, slots=True)
class LimitState:
    """One tier in an answer: its limit and window, what is left, the seconds until its end."""

    limit: int
    window_s: int
    left: int
    reset_s: int


def parse_report(answer: Any) -> dict[str, LimitState]:
    """The tiers of RateLimit-Policy and RateLimit by name, in order; they have to agree."""
    policies = list(_items(answer.headers["RateLimit-Policy"], "q", "w"))
    states = list(_items(answer.headers["RateLimit"], "r", "t"))
    assert [name for name, *_ in policies] == [name for name, *_ in states]
    states_by_name = {
        name: LimitState(limit, window_s, left, reset_s)
        for (name, limit, window_s), (_, left, reset_s) in zip(policies, states, strict=True)
    }
    for state in states_by_name.values():
        assert 0 <= state.left <= state.limit
        assert 1 <= state.reset_s <= state.window_s
    return states_by_name


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
