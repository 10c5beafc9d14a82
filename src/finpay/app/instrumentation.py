"""The components of a process with spans around their operations, for when tracing is on.

A request is a server span; inside it the gate, the ledger and each statement are spans. A batch is
one span in a trace of its own, with links to and from its requests. A delivery attempt is a client
span, with a link to the request that caused its event.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from finpay import ids
from finpay.app.batch_spans import BatchSpans
from finpay.concurrency.batch_observer import NO_OBSERVER, BatchObserver
from finpay.db.pool import Database, Record, Transaction
from finpay.edge.access_log import RequestRecord
from finpay.edge.application import Handle
from finpay.edge.request.model import Request
from finpay.edge.response import Response
from finpay.gate.gate import Admission, Completion, Decision, Gate
from finpay.gate.rate_limits import Tier
from finpay.settings import Settings
from finpay.telemetry.tracing import Tracer
from finpay.webhooks.messages import Attempt, Message
from finpay.webhooks.sender import Sender
from finpay.webhooks.ssrf.url_policy import UrlPolicy

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

MAX_QUERY_CHARACTERS: Final = 2_000  # of a statement; its values are never in it
_REDIS: Final = {"db.system.name": "redis", "db.operation.name": "EVALSHA"}
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Components:
    """The classes that a process is built from, and its observers: without spans, or with them."""

    database: Callable[..., Database] = Database
    gate: Callable[..., Gate] = Gate
    transfer_observer: BatchObserver = NO_OBSERVER
    read_observer: BatchObserver = NO_OBSERVER
    sender: Callable[..., Sender] = Sender
    request_handler: Callable[[Handle], Handle] = lambda handle: handle
    close: Callable[[], None] = lambda: None


def components(tracer: Tracer | None) -> Components:
    """The classes with spans; without a tracer the plain ones, which have no tracing code."""
    if tracer is None:
        return Components()
    return Components(
        partial(TracedDatabase, tracer),
        partial(TracedGate, tracer),
        BatchSpans(tracer, "ledger.post", "ledger.batch", "finpay.batch.transfers"),
        BatchSpans(tracer, "ledger.read", "ledger.reads"),
        partial(TracedSender, tracer),
        partial(traced_handler, tracer),
        tracer.close,
    )


def traced_handler(tracer: Tracer, handle: Handle) -> Handle:
    """`handle` in a server span, which contains no query, no header and no unknown path."""

    async def traced(request: Request, record: RequestRecord) -> Response:
        from opentelemetry.trace import StatusCode

        method = request.method if request.method in _METHODS else "_OTHER"
        attributes = {"finpay.request_id": request.id, "http.request.method": method}
        parents = {
            field: value
            for field in ("traceparent", "tracestate")
            if (value := request.header(field.encode())) is not None
        }
        name = "HTTP" if method == "_OTHER" else method
        with tracer.request(name, request.id, parents, attributes) as span:
            response = await handle(request, record)
            span.set_attribute("http.response.status_code", response.status)
            if record.route != "none":
                span.update_name(f"{name} {record.route}")
                span.set_attribute("http.route", record.route)
            if response.status >= _SERVER_ERROR:
                span.set_attribute("error.type", str(response.status))
                span.set_status(StatusCode.ERROR)
            return response

    return traced


class TracedGate(Gate):
    """Makes a client span of each round trip to Redis."""

    def __init__(self, tracer: Tracer, settings: Settings, confirm: Callable[..., Any]) -> None:
        super().__init__(settings, confirm)
        self._tracer = tracer

    async def admit(self, admission: Admission) -> Decision:
        with self._tracer.span("gate.admit", "client", _REDIS) as span:
            return _annotated(span, await super().admit(admission))

    async def count(self, tiers: Sequence[Tier]) -> Decision:
        with self._tracer.span("gate.admit", "client", _REDIS) as span:
            return _annotated(span, await super().count(tiers))

    async def complete(self, admission: Admission, completion: Completion) -> None:
        with self._tracer.span("gate.complete", "client", _REDIS):
            await super().complete(admission, completion)

    async def store_read(
        self, admission: Admission, generation: str, sequence: int, payload: bytes
    ) -> None:
        with self._tracer.span("gate.store_read", "client", _REDIS):
            await super().store_read(admission, generation, sequence, payload)


class TracedDatabase(Database):
    """Makes a client span of each statement of a request or batch; health checks make none."""

    def __init__(self, tracer: Tracer, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._tracer = tracer

    async def fetch(self, query: str, *args: object) -> Sequence[Record]:
        if not _inside_a_span():
            return await super().fetch(query, *args)
        with self._tracer.span("postgresql", "client", _statement(query)):
            return await super().fetch(query, *args)

    async def fetch_one(self, query: str, *args: object) -> Record | None:
        if not _inside_a_span():
            return await super().fetch_one(query, *args)
        with self._tracer.span("postgresql", "client", _statement(query)):
            return await super().fetch_one(query, *args)

    async def execute(self, query: str, *args: object) -> None:
        if not _inside_a_span():
            await super().execute(query, *args)
            return
        with self._tracer.span("postgresql", "client", _statement(query)):
            await super().execute(query, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        if not _inside_a_span():
            async with super().transaction() as transaction:
                yield transaction
            return
        with self._tracer.span("postgresql", "client", _statement("BEGIN … COMMIT")):
            async with super().transaction() as transaction:
                yield transaction


class TracedSender(Sender):
    """Makes a client span of each attempt. It has only the host of the URL, because the rest may
    contain a secret of the endpoint's owner."""

    def __init__(self, tracer: Tracer, rules: UrlPolicy, timeout_s: float) -> None:
        super().__init__(rules, timeout_s)
        self._tracer = tracer

    async def send(self, message: Message) -> Attempt:
        from urllib.parse import urlsplit

        from opentelemetry.trace import StatusCode

        url = urlsplit(message.url)
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "POST",
            "server.address": url.hostname or "",
            "url.scheme": url.scheme,
            "finpay.event_id": message.id,
            "finpay.webhook_endpoint_id": ids.encode("whe", message.endpoint_id),
        }
        request_id = _causing_request_id(message.body)
        if request_id is not None:
            attributes["finpay.request_id"] = request_id
        links = () if request_id is None else self._tracer.links_to(request_id)
        with self._tracer.span("POST", "client", attributes, links) as span:
            attempt = await super().send(message)
            if attempt.http_status is not None:
                span.set_attribute("http.response.status_code", attempt.http_status)
            if attempt.error is not None:
                span.set_attribute("error.type", attempt.error)
                span.set_status(StatusCode.ERROR)
            return attempt


class _Request(msgspec.Struct):
    id: str


class _Event(msgspec.Struct):
    """The member of an event that names the request which caused it."""

    request: _Request | None = None


def _causing_request_id(body: bytes) -> str | None:
    request = msgspec.json.decode(body, type=_Event).request
    return None if request is None else request.id


def _annotated(span: "Span", decision: Decision) -> Decision:
    span.set_attribute("finpay.gate.decision", decision.kind)
    span.set_attribute("finpay.gate.without_redis", decision.degraded)
    return decision


def _statement(query: str) -> "dict[str, AttributeValue]":
    return {"db.system.name": "postgresql", "db.query.text": query[:MAX_QUERY_CHARACTERS]}


def _inside_a_span() -> bool:
    from opentelemetry.trace import get_current_span

    return get_current_span().is_recording()
