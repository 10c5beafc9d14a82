"""Rate limits that refused a moment ago: a repeated request is refused without a call to Redis."""

import time
from collections.abc import Sequence
from typing import Final

from finpay.gate.rate_limits import LimitState, Tier, exhausted

REMEMBERED_S: Final = 0.05
MIN_RESET_S: Final = 2  # rounded up: the window lasts longer than its refusal is remembered
MAX_REMEMBERED: Final = 1_000  # about 1 MB


class UsedUpWindows:
    """The last refusals of one process, by the keys of their tiers.

    Refusals are not counted, so a client may ask for any number of them: these cost no round trip.
    A window that is used up stays so until it ends. That of an e-mail is not remembered: a login
    from a known address starts it anew.
    """

    def __init__(self) -> None:
        self._refusals: dict[tuple[str, ...], tuple[float, tuple[LimitState, ...]]] = {}

    def find(self, tiers: Sequence[Tier]) -> tuple[LimitState, ...] | None:
        """The states of a refusal of a request that counts once in each of these tiers."""
        if not self._refusals:
            return None
        until_s, states = self._refusals.get(_keys(tiers), (0.0, None))
        return states if time.monotonic() < until_s else None

    def add(self, states: tuple[LimitState, ...]) -> None:
        """The states of a refusal, as Redis reported them."""
        by = exhausted(states)
        if by.tier.exempt_key or by.reset_s < MIN_RESET_S:
            return
        if len(self._refusals) >= MAX_REMEMBERED:
            self._refusals.clear()
        keys = _keys([state.tier for state in states])
        self._refusals[keys] = (time.monotonic() + REMEMBERED_S, states)


def _keys(tiers: Sequence[Tier]) -> tuple[str, ...]:
    return tuple([tier.key for tier in tiers])
