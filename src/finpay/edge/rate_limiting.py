"""Refusals by the rate limits, and what a request costs beyond its first unit."""

from finpay.edge.request.model import Context
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.gate.rate_limits import LimitState, exhausted


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
