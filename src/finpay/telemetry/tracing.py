"""OpenTelemetry traces: on with `finpay[otel]` installed and OTEL_EXPORTER_OTLP_ENDPOINT set.

Without both, OpenTelemetry is not imported. The components that make spans are in
finpay.app.instrumentation; this module has the exporter, and derives the trace id of a request
from its request id.
"""

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Literal, cast

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.trace import Link, Span
    from opentelemetry.util.types import AttributeValue

Kind = Literal["internal", "server", "client"]

CLOSE_LIMIT_S: Final = 2.0  # for the last spans; a collector that hangs must not block shutdown
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_OWN_REQUEST_ID: Final = re.compile(r"req_[0-9a-z]{26}")


def start(service: str) -> "Tracer | None":
    """The tracer of this process, named `service` unless OTEL_SERVICE_NAME is set; None: off.

    Endpoint, headers, sampling and batching are OpenTelemetry's own environment variables:
    OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER, OTEL_BSP_*.
    """
    configured = any(os.environ.get(name) for name in _ENDPOINTS)
    if not configured or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logging.getLogger(__name__).warning("tracing_is_off: install finpay[otel]")
        return None
    name = os.environ.get("OTEL_SERVICE_NAME") or service
    resource = Resource.create({"service.name": name, "service.version": version("finpay")})
    generator = RequestIdGenerator()
    provider = TracerProvider(
        resource=resource, shutdown_on_exit=False, id_generator=cast("IdGenerator", generator)
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider, generator)


class Tracer:
    """Makes spans. They have the class of an exception, never its text."""

    def __init__(self, provider: "TracerProvider", generator: "RequestIdGenerator") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("finpay", version("finpay"))
        self._generator = generator
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind = "internal",
        attributes: "Mapping[str, AttributeValue] | None" = None,
        links: "Sequence[Link]" = (),
        context: "Context | None" = None,
    ) -> "Iterator[Span]":
        """A span around the block; spans started in the block are its children."""
        from opentelemetry.trace import SpanKind, StatusCode, use_span

        span = self._tracer.start_span(name, context, SpanKind[kind.upper()], attributes, links)
        with use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield span
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(StatusCode.ERROR)
                raise

    @contextmanager
    def request(
        self,
        name: str,
        request_id: str,
        carrier: Mapping[str, str],
        attributes: "Mapping[str, AttributeValue]",
    ) -> "Iterator[Span]":
        """The span of a received request: a child of its `traceparent`, if it has one.

        Otherwise the trace id is derived from the request id, so that the trace can be found by it.
        """
        from opentelemetry.context import Context

        self._generator.use_request_id(request_id)
        context = self._propagator.extract(carrier, Context())
        with self.span(name, "server", attributes, context=context) as span:
            yield span

    def links_to(self, request_id: str) -> "Sequence[Link]":
        """A link to the span of a request; empty if the client chose the request id."""
        from opentelemetry.trace import Link, SpanContext, TraceFlags

        derived = _ids_from_request_id(request_id)
        if derived is None:
            return ()
        sampled = TraceFlags(TraceFlags.SAMPLED)
        return (Link(SpanContext(*derived, is_remote=True, trace_flags=sampled)),)

    def close(self) -> None:
        """Exports the remaining spans, within CLOSE_LIMIT_S."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(CLOSE_LIMIT_S)


class RequestIdGenerator:
    """Generates trace and span ids: random ones, except for the span of a request."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        self._random = RandomIdGenerator()
        self._next: tuple[int, int] | None = None

    def use_request_id(self, request_id: str) -> None:
        """The next span that starts gets the ids of this request."""
        self._next = _ids_from_request_id(request_id)

    def is_trace_id_random(self) -> bool:
        """True for samplers: they read the low bits, which come from a hash."""
        return True

    def generate_trace_id(self) -> int:
        return self._random.generate_trace_id() if self._next is None else self._next[0]

    def generate_span_id(self) -> int:
        """Generated after the trace id, so this ends the use of the request id."""
        derived, self._next = self._next, None
        return self._random.generate_span_id() if derived is None else derived[1]


def _ids_from_request_id(request_id: str) -> tuple[int, int] | None:
    """Trace id and span id. None for ids chosen by clients, which may repeat."""
    if not _OWN_REQUEST_ID.fullmatch(request_id):
        return None
    digest = blake2b(request_id.encode(), digest_size=_TRACE_BYTES + _SPAN_BYTES).digest()
    return int.from_bytes(digest[:_TRACE_BYTES]), int.from_bytes(digest[_TRACE_BYTES:])
