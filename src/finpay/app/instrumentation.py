"""The parts of a process, with spans around what they do. Only built where tracing is on.

A request is a server span; inside it the gate, the ledger and each statement are spans. A batch is
one span in a trace of its own, linked to the requests that it carried, and they to it. An attempt
to deliver is a client span, linked to the request that caused its event.
"""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from finpay import ids
from finpay.app.batch_spans import TracedBatcher, TracedReader
from finpay.db.pool import Database, Record, Transaction
from finpay.edge import routes
from finpay.edge.request.model import Request, RequestHandler
from finpay.errors import FinPayError
from finpay.gate.decision import Decision
from finpay.gate.gate import Admission, Completion, Gate
from finpay.gate.rate_limits import Tier
from finpay.ledger.batched_reads import BatchedReads
from finpay.ledger.batcher import Batcher
from finpay.settings import Settings
from finpay.telemetry.tracing import Tracer
from finpay.webhooks.sender import Attempt, Message, Sender
from finpay.webhooks.ssrf.url_policy import UrlPolicy

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

MAX_QUERY_CHARACTERS: Final = 2_000  # of a statement; its values are never in it
_REDIS: Final = {"db.system.name": "redis", "db.operation.name": "EVALSHA"}
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
_SERVER_FAULT: Final = 500
_PUBLIC_ID: Final = re.compile(r"[a-z]{3}_[0-9a-z]{26}")


@dataclass(frozen=True, slots=True)
class Components:
    """What a process is built with: the plain parts, or those with spans."""

    database: Callable[..., Database] = Database
    gate: Callable[..., Gate] = Gate
    batcher: Callable[..., Batcher] = Batcher
    reader: Callable[..., BatchedReads] = BatchedReads
    sender: Callable[..., Sender] = Sender
    responder: Callable[[RequestHandler], RequestHandler] = lambda inner: inner


def kit(tracer: Tracer | None) -> Components:
    """With tracing off the parts are the plain ones, which know nothing of it."""
    if tracer is None:
        return Components()
    return Components(
        partial(TracedDatabase, tracer),
        partial(TracedGate, tracer),
        partial(TracedBatcher, tracer),
        partial(TracedReader, tracer),
        partial(TracedSender, tracer),
        partial(TracedRequestHandler, tracer),
    )


class TracedRequestHandler:
    """What stands behind a connection, with a server span around each answer."""

    def __init__(self, tracer: Tracer, inner: RequestHandler) -> None:
        self._tracer = tracer
        self._inner = inner

    async def respond(self, request: Request) -> bytes:
        """The inner answer. No query, no header and no unknown path comes into the span."""
        from opentelemetry.trace import StatusCode

        attributes: dict[str, AttributeValue] = {"finpay.request_id": request.id}
        method = request.method if request.method in _METHODS else "_OTHER"
        attributes["http.request.method"] = method
        name = "HTTP" if method == "_OTHER" else method
        template, path_id = _route(request.path)
        if template is not None:
            attributes["http.route"] = template
            attributes["url.path"] = template.replace("{id}", path_id)
            name = f"{name} {template}"
        given = {
            field: value
            for field in ("traceparent", "tracestate")
            if (value := request.header(field.encode())) is not None
        }
        with self._tracer.request(name, request.id, given, attributes) as span:
            answer = await self._inner.respond(request)
            status = int(answer[9:12])  # HTTP/1.1 200
            span.set_attribute("http.response.status_code", status)
            if status >= _SERVER_FAULT:
                span.set_attribute("error.type", str(status))
                span.set_status(StatusCode.ERROR)
            return answer

    def refuse(self, request: Request) -> bytes | None:
        """Without a span: what is refused has to cost next to nothing."""
        return self._inner.refuse(request)

    def refuse_unread(self, data: bytes) -> bytes | None:
        return self._inner.refuse_unread(data)


class TracedGate(Gate):
    """Its round trips are client spans."""

    def __init__(
        self, tracer: Tracer, settings: Settings, is_session_active: Callable[..., Any]
    ) -> None:
        super().__init__(settings, is_session_active)
        self._tracer = tracer

    async def admit(self, passage: Admission) -> Decision:
        with self._tracer.span("gate.admit", "client", _REDIS) as span:
            return _judged(span, await super().admit(passage))

    async def admit_anonymous(self, tiers: Sequence[Tier]) -> Decision:
        with self._tracer.span("gate.admit", "client", _REDIS) as span:
            return _judged(span, await super().admit_anonymous(tiers))

    async def settle(self, passage: Admission, settlement: Completion) -> None:
        with self._tracer.span("gate.settle", "client", _REDIS):
            await super().settle(passage, settlement)

    async def fill(
        self, passage: Admission, generation: str, sequence: int, payload: bytes
    ) -> None:
        with self._tracer.span("gate.fill", "client", _REDIS):
            await super().fill(passage, generation, sequence, payload)


class TracedDatabase(Database):
    """Its statements are client spans where a request or a batch asks; probes make none."""

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
    """An attempt is a client span. Its URL may hold a secret of its owner, so only the host is
    told."""

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
        request_id = _cause(message.body)
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
    """As much of an event as names its cause."""

    request: _Request | None = None


def _cause(body: bytes) -> str | None:
    request = msgspec.json.decode(body, type=_Event).request
    return None if request is None else request.id


def _route(path: str) -> tuple[str | None, str]:
    """The template of a path, and its id if it is one: anything may be typed there."""
    try:
        methods, path_id = routes.find(path)
    except FinPayError:
        return None, ""
    template = next(iter(methods.values())).path
    return template, path_id if _PUBLIC_ID.fullmatch(path_id) else "{id}"


def _judged(span: "Span", verdict: Decision) -> Decision:
    span.set_attribute("finpay.gate.decision", verdict.kind)
    span.set_attribute("finpay.gate.without_redis", verdict.degraded)
    return verdict


def _statement(query: str) -> "dict[str, AttributeValue]":
    return {"db.system.name": "postgresql", "db.query.text": query[:MAX_QUERY_CHARACTERS]}


def _inside_a_span() -> bool:
    from opentelemetry.trace import get_current_span

    return get_current_span().is_recording()
