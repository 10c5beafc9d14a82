"""What is noted of a request on its way, for its one log line and its metrics."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final

from msgspec import Struct, field
from prometheus_client import Counter, Histogram

from finpay.edge.request.model import Request, Response
from finpay.errors import Code, FinPayError
from finpay.gate.decision import Decision
from finpay.gate.rate_limits import LimitState, exhausted
from finpay.telemetry import logs, metrics

_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})


class AccessLogLine(Struct, kw_only=True):
    """A request's line in the log."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    level: str = "info"
    event: str = "request"
    request_id: str
    trace_id: str | None = None
    user_id: str | None = None
    method: str
    route: str = "none"
    status: int
    ms: float = 0.0
    gate: str = "none"


@dataclass(slots=True)
class RequestRecord:
    """How far a request came."""

    template: str = "none"
    user: str | None = None
    gate: str = "none"
    verdict: str | None = None
    budgets: tuple[LimitState, ...] = ()

    def judge(self, verdict: Decision) -> None:
        """AccessLog the verdict; raises what ends the request here (401, 429)."""
        self.gate = f"{verdict.kind}_without_redis" if verdict.degraded else verdict.kind
        self.verdict = verdict.kind
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
                f"{budget.tier.limit.window_s} seconds {_shortage(budget)}. "
                f"Try again in {budget.reset_s} seconds.",
                extensions={"policy": budget.tier.name},
                headers={"Retry-After": str(budget.reset_s)},
            )


class AccessLog:
    """What one turn of the event loop has to tell, told together: one write of the log, one count
    per series."""

    def __init__(self) -> None:
        self._lines: list[AccessLogLine] = []
        self._seconds: dict[tuple[str, str, int], list[float]] = {}
        self._gates: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()

    def take(self, trail: RequestRecord, request: Request, reply: Response, seconds: float) -> None:
        """One log line, one count, one observation. No path, no e-mail, no secret."""
        method = request.method if request.method in _METHODS else "other"
        self._seconds.setdefault((method, trail.template, reply.status), []).append(seconds)
        if trail.verdict is not None:
            self._gates[trail.verdict] = self._gates.get(trail.verdict, 0) + 1
        self._note(
            AccessLogLine(
                request_id=request.id,
                trace_id=request.trace_id,
                user_id=trail.user,
                method=method,
                route=trail.template,
                status=reply.status,
                ms=round(seconds * 1000, 2),
                gate=trail.gate,
            )
        )

    def refused(self, method: str, request_id: str) -> None:
        """The same of one that was answered 503 unread."""
        self._seconds.setdefault((method, "none", 503), []).append(0.0)
        self._note(AccessLogLine(request_id=request_id, method=method, status=503))

    def _note(self, line: AccessLogLine) -> None:
        if not self._lines:
            self._loop.call_soon(self._tell)
        self._lines.append(line)

    def _tell(self) -> None:
        lines, self._lines = self._lines, []
        seconds, self._seconds = self._seconds, {}
        gates, self._gates = self._gates, {}
        for (method, route, status), each in seconds.items():
            count, duration = _series(method, route, status)
            count.inc(len(each))
            metrics.observe_all(duration, each)
        for kind, times in gates.items():
            _gate(kind).inc(times)
        logs.write_records(lines)


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The metrics of one kind of answer: there are few, and a look-up costs more than counting."""
    count = metrics.REQUESTS.labels(method, route, str(status))
    return count, metrics.REQUEST_DURATION.labels(route)


@cache
def _gate(kind: str) -> Counter:
    return metrics.GATE_DECISIONS.labels(kind)


def _shortage(budget: LimitState) -> str:
    if budget.remaining == 0:
        return "is used up"
    return f"has {budget.remaining} left, and this one counts as {budget.tier.cost}"
