"""Spans of batches, and of the requests that wait for their results."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from finpay.concurrency.batch_observer import RecordOutcome
from finpay.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class BatchSpans:
    """Makes a span for the wait of each item, and a span for each batch, linked to its items.

    `weighed` is the name of an attribute for the weight of a batch, if it has one.
    """

    def __init__(
        self, tracer: Tracer, item_name: str, batch_name: str, weighed: str | None = None
    ) -> None:
        self._tracer = tracer
        self._item_name = item_name
        self._batch_name = batch_name
        self._weighed = weighed
        self._waiter_spans: dict[int, Span] = {}  # by id() of the item, while it waits

    @contextmanager
    def item(self, item: object) -> Iterator[RecordOutcome]:
        with self._tracer.span(self._item_name) as span:
            self._waiter_spans[id(item)] = span
            try:
                yield partial(span.set_attribute, "finpay.outcome")
            finally:
                del self._waiter_spans[id(item)]

    @contextmanager
    def batch(self, items: Sequence[object], weight: int) -> Iterator[None]:
        """An item whose caller was cancelled is still in the batch, but has no link."""
        from opentelemetry.context import Context
        from opentelemetry.trace import Link

        spans = [
            self._waiter_spans[key] for item in items if (key := id(item)) in self._waiter_spans
        ]
        counts = {"finpay.batch.requests": len(items)}
        if self._weighed is not None:
            counts[self._weighed] = weight
        links = [Link(span.get_span_context()) for span in spans]
        with self._tracer.span(self._batch_name, "internal", counts, links, Context()) as batch:
            for span in spans:
                span.add_link(batch.get_span_context())
            yield
