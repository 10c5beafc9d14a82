"""Refusals by the rate limits, and what a request costs beyond its first unit."""

import time
from collections import OrderedDict
from typing import Final

from finpay.edge.request.model import Context
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.gate.rate_limits import LimitState, exhausted

MAX_REMEMBERED: Final = 10_000  # callers; about 1 MB


class RecentRefusals:
    """Callers whose limit was used up at their last request, until its window ends.

    A large body of one of them is read after a check of the limits: reading 1 MiB to refuse it
    costs a hundred times that, and refusals are not counted.
    """

    def __init__(self) -> None:
        self._until_s: OrderedDict[str, float] = OrderedDict()

    def add(self, caller: str, state: LimitState) -> None:
        self._until_s[caller] = time.monotonic() + state.reset_s
        if len(self._until_s) > MAX_REMEMBERED:
            self._until_s.popitem(last=False)

    def __contains__(self, caller: str) -> bool:
        until_s = self._until_s.get(caller)
        if until_s is not None and until_s < time.monotonic():
            del self._until_s[caller]
            return False
        return until_s is not None


async def charge(services: Services, context: Context, cost: int) -> tuple[LimitState, ...]:
    """Counts `cost` more in the request's general tier, once the work is known. 429 if it is too
    much. Returns the states of all tiers after it."""
    if not context.limits or cost == 0:
        return context.limits
    first, *others = context.limits
    decision = await services.gate.charge(first.tier, cost)
    if decision.kind == "limited":
        raise rate_limited(exhausted(decision.limits))
    return (*decision.limits, *others)


def rate_limited(state: LimitState) -> FinPayError:
    """429 of an exhausted tier."""
    limit = state.tier.limit
    left = (
        "is used up"
        if state.remaining == 0
        else f"has {state.remaining} left, and this request counts as {state.tier.cost}"
    )
    return FinPayError(
        Code.RATE_LIMITED,
        f"The limit of {limit.count} requests in {limit.window_s} seconds {left}. "
        f"Try again in {state.reset_s} seconds.",
        extensions={"policy": state.tier.name},
        headers={"Retry-After": str(state.reset_s)},
    )
