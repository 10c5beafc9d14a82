"""Rate limits: tiers, what is left of them, and their headers (draft-ietf-httpapi-ratelimit)."""

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil
from typing import Final

from msgspec import Struct

from finpay.settings import RateLimit

MAX_LOCAL_WINDOWS: Final = 100_000  # ~20 MB; the oldest window goes first


class Tier(Struct, frozen=True):
    """One limit that a request meets: its public name, its Redis key, how much it costs."""

    name: str
    key: str
    limit: RateLimit
    cost: int = 1


class LimitState(Struct, frozen=True):
    """What is left of a tier after this request, and the seconds until its window ends."""

    tier: Tier
    remaining: int
    reset_s: int


def parse_report(tiers: Sequence[Tier], report: Sequence[int]) -> tuple[LimitState, ...]:
    """From a script's report: (left, milliseconds) for each tier in turn."""
    return tuple(
        LimitState(tier, left, max(1, ceil(ms / 1000)))
        for tier, left, ms in zip(tiers, report[::2], report[1::2], strict=True)
    )


def format_headers(budgets: Sequence[LimitState]) -> tuple[str, str]:
    """The values of RateLimit-Policy and RateLimit."""
    policy = ", ".join(
        f'"{budget.tier.name}";q={budget.tier.limit.count};w={budget.tier.limit.window_s}'
        for budget in budgets
    )
    left = ", ".join(
        f'"{budget.tier.name}";r={budget.remaining};t={budget.reset_s}' for budget in budgets
    )
    return policy, left


def exhausted(budgets: Sequence[LimitState]) -> LimitState:
    """The tier that refused: of those without room, the one that stays shut longest."""
    shut = [budget for budget in budgets if budget.remaining < budget.tier.cost]
    return max(shut, key=lambda budget: budget.reset_s)


class LocalLimits:
    """The same fixed windows in this process alone, for while Redis is away.

    Each process gets its share of the limit, so that all together stay near it.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._windows: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def count(self, tiers: Sequence[Tier], now_s: float) -> tuple[bool, tuple[LimitState, ...]]:
        """Counts in all tiers or in none. Answers whether it fitted, and what is left."""
        windows = [self._window(tier, now_s) for tier in tiers]
        shares = [max(1, tier.limit.count // self._workers) for tier in tiers]
        fits = all(
            used + tier.cost <= share
            for tier, share, (used, _) in zip(tiers, shares, windows, strict=True)
        )
        budgets = []
        for tier, share, (used, ends_s) in zip(tiers, shares, windows, strict=True):
            after = used + tier.cost if fits else used
            if fits:
                self._windows[tier.key] = (after, ends_s)
                if not used:  # a new window is the youngest, even under an old key
                    self._windows.move_to_end(tier.key)
            budgets.append(LimitState(tier, max(0, share - after), max(1, ceil(ends_s - now_s))))
        while len(self._windows) > MAX_LOCAL_WINDOWS:
            self._windows.popitem(last=False)
        return fits, tuple(budgets)

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _window(self, tier: Tier, now_s: float) -> tuple[int, float]:
        used, ends_s = self._windows.get(tier.key, (0, 0.0))
        return (used, ends_s) if ends_s > now_s else (0, now_s + tier.limit.window_s)
