"""What is noted of a request on its way, for its one log line and its metrics."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from prometheus_client import Counter, Histogram

from finpay import log, metrics
from finpay.edge.request import Reply, Request
from finpay.errors import Code, FinPayError
from finpay.gate.limits import Budget, exhausted
from finpay.gate.verdict import Verdict

_LOG: Final = log.get()
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The metrics of one kind of answer: there are few, and a look-up costs more than counting."""
    count = metrics.REQUESTS.labels(method, route, str(status))
    return count, metrics.DURATION.labels(route)


@dataclass(slots=True)
class Trail:
    """How far a request came."""

    template: str = "none"
    user: str | None = None
    gate: str = "none"
    budgets: tuple[Budget, ...] = ()

    def judge(self, verdict: Verdict) -> None:
        """Notes the verdict; raises what ends the request here (401, 429)."""
        self.gate = f"{verdict.kind}_without_redis" if verdict.degraded else verdict.kind
        self.budgets = verdict.budgets
        if verdict.kind == "revoked":
            raise FinPayError(
                Code.UNAUTHENTICATED,
                "This session has ended. Log in again.",
                headers={"WWW-Authenticate": 'Bearer realm="finpay", error="invalid_token"'},
            )
        if verdict.kind == "limited":
            budget = exhausted(verdict.budgets)
            raise FinPayError(
                Code.RATE_LIMITED,
                f"The limit of {budget.tier.limit.count} requests in "
                f"{budget.tier.limit.window_s} seconds is used up. "
                f"Try again in {budget.reset_s} seconds.",
                extensions={"policy": budget.tier.name},
                headers={"Retry-After": str(budget.reset_s)},
            )

    def end(self, request: Request, reply: Reply, seconds: float) -> None:
        """One log line, one count, one observation. No path, no e-mail, no secret."""
        method = request.method if request.method in _METHODS else "other"
        count, duration = _series(method, self.template, reply.status)
        count.inc()
        duration.observe(seconds)
        _LOG.info(
            "request",
            request_id=request.id,
            trace_id=request.trace_id,
            user_id=self.user,
            method=method,
            route=self.template,
            status=reply.status,
            ms=round(seconds * 1000, 2),
            gate=self.gate,
        )
