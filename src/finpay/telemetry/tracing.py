"""OpenTelemetry, for whoever installs `finpay[otel]` and sets OTEL_EXPORTER_OTLP_ENDPOINT.

Without both nothing of it is imported. traced.py has the parts that make spans; this is what they
share: where spans go, and how the trace of a request is found again by its request id.
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

CLOSE_LIMIT_S: Final = 2.0  # for the last spans; a collector that hangs must not hold up the end
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_OURS: Final = re.compile(r"req_[0-9a-z]{26}")


def start(service: str) -> "Tracer | None":
    """The tracer of this process, named `service` unless OTEL_SERVICE_NAME is set; None: off.

    Where to, how often and how many is OpenTelemetry's own environment: OTEL_EXPORTER_OTLP_*,
    OTEL_TRACES_SAMPLER, OTEL_BSP_*.
    """
    wanted = any(os.environ.get(name) for name in _ENDPOINTS)
    if not wanted or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
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
    numbers = RequestIdGenerator()
    provider = TracerProvider(
        resource=resource, shutdown_on_exit=False, id_generator=cast("IdGenerator", numbers)
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider, numbers)


class Tracer:
    """Makes spans. Exceptions are named in them, and never quoted."""

    def __init__(self, provider: "TracerProvider", numbers: "RequestIdGenerator") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("finpay", version("finpay"))
        self._numbers = numbers
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
        """A span around what happens inside, and the parent of what begins there."""
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
        """The span of a request that came in: a child of its `traceparent`, if it has one.

        Else its trace follows from the request id, so that whoever knows that finds the trace.
        """
        from opentelemetry.context import Context

        self._numbers.follow(request_id)
        context = self._propagator.extract(carrier, Context())
        with self.span(name, "server", attributes, context=context) as span:
            yield span

    def links_to(self, request_id: str) -> "Sequence[Link]":
        """To the span of a request; none if its id does not tell which that is."""
        from opentelemetry.trace import Link, SpanContext, TraceFlags

        numbers = _numbers_of(request_id)
        if numbers is None:
            return ()
        sampled = TraceFlags(TraceFlags.SAMPLED)
        return (Link(SpanContext(*numbers, is_remote=True, trace_flags=sampled)),)

    def close(self) -> None:
        """Sends what is left, within CLOSE_LIMIT_S."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(CLOSE_LIMIT_S)


class RequestIdGenerator:
    """Makes trace and span ids: random, but for those of a request."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        self._random = RandomIdGenerator()
        self._next: tuple[int, int] | None = None

    def follow(self, request_id: str) -> None:
        """The next span to begin is the request's."""
        self._next = _numbers_of(request_id)

    def is_trace_id_random(self) -> bool:
        """As good as: samplers read the low bits, which are a digest's."""
        return True

    def generate_trace_id(self) -> int:
        return self._random.generate_trace_id() if self._next is None else self._next[0]

    def generate_span_id(self) -> int:
        """The last that a span asks for."""
        given, self._next = self._next, None
        return self._random.generate_span_id() if given is None else given[1]


def _numbers_of(request_id: str) -> tuple[int, int] | None:
    """Trace and span of a request. None for ids that clients chose: they may come again."""
    if not _OURS.fullmatch(request_id):
        return None
    digest = blake2b(request_id.encode(), digest_size=_TRACE_BYTES + _SPAN_BYTES).digest()
    return int.from_bytes(digest[:_TRACE_BYTES]), int.from_bytes(digest[_TRACE_BYTES:])
