"""One log line and the metrics of each request, written together once per event-loop tick."""

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from msgspec import Struct
from prometheus_client import Counter, Histogram

from finpay.edge.request.model import Request
from finpay.edge.response import Response
from finpay.gate.gate import Decision
from finpay.gate.rate_limits import LimitState
from finpay.identity.access_tokens import Principal
from finpay.identity.request_log import RequestLog
from finpay.telemetry import logs, metrics

_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})


class AccessLogLine(Struct, kw_only=True, omit_defaults=True):
    """The log line of a request. No path, no e-mail, no secret."""

    time: str
    level: Literal["info"]
    event: Literal["request"]
    request_id: str
    trace_id: str | None = None
    user_id: str | None = None
    method: str
    route: str
    status: int
    code: str | None = None
    transaction_id: str | None = None
    ms: float
    decision: str | None = None
    redis: Literal["up", "down"] = "up"


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request so far, for its log line."""

    route: str = "none"
    principal: Principal | None = None
    decision: Decision | None = None

    @property
    def limits(self) -> tuple[LimitState, ...]:
        return () if self.decision is None else self.decision.limits


class AccessLog:
    """Collects the requests of one event-loop tick: one write of the log, one count per series.

    Those of users go to the request log too, which they read.
    """

    def __init__(self, request_log: RequestLog) -> None:
        self._request_log = request_log
        self._lines: list[AccessLogLine] = []
        self._durations_s: dict[tuple[str, str, int], list[float]] = {}
        self._decisions: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._time = ""  # of the event-loop tick

    def record(
        self, record: RequestRecord, request: Request, response: Response, duration_s: float
    ) -> None:
        """One log line, one count, one observation."""
        method = request.method if request.method in _METHODS else "other"
        series = (method, record.route, response.status)
        self._durations_s.setdefault(series, []).append(duration_s)
        decision, principal = record.decision, record.principal
        if decision is not None:
            self._decisions[decision.kind] = self._decisions.get(decision.kind, 0) + 1
        if principal is not None:
            self._request_log.add(
                principal,
                request_id=request.id,
                method=method,
                route=record.route,
                status=response.status,
                code=response.code,
                duration_s=duration_s,
            )
        if not self._lines:
            self._time = logs.timestamp()
            self._loop.call_soon(self._flush)
        self._lines.append(
            AccessLogLine(
                time=self._time,
                level="info",
                event="request",
                request_id=request.id,
                trace_id=request.trace_id,
                user_id=None if principal is None else principal.user,
                method=method,
                route=record.route,
                status=response.status,
                code=response.code,
                transaction_id=response.transaction_id,
                ms=round(duration_s * 1000, 2),
                decision=None if decision is None else decision.kind,
                redis="down" if decision is not None and decision.degraded else "up",
            )
        )

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        durations_s, self._durations_s = self._durations_s, {}
        decisions, self._decisions = self._decisions, {}
        for (method, route, status), each in durations_s.items():
            count, duration = _series(method, route, status)
            count.inc(len(each))
            metrics.observe_all(duration, each)
        for kind, times in decisions.items():
            _decision_count(kind).inc(times)
        logs.write_records(lines)


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """There are few series, and looking one up costs more than counting in it."""
    count = metrics.REQUESTS.labels(method, route, str(status))
    return count, metrics.REQUEST_DURATION.labels(route)


@cache
def _decision_count(kind: str) -> Counter:
    return metrics.GATE_DECISIONS.labels(kind)
