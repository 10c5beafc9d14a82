"""Spans of batches, and of the requests that wait for their results."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from finpay.db.pool import Database
from finpay.ledger.batched_reads import AccountRead, BatchedReads, FirstPageRead
from finpay.ledger.batcher import Batcher
from finpay.ledger.posting import Posting, PostingResult
from finpay.ledger.reads import Account, History
from finpay.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class BatchSpans:
    """Makes a span for the wait of each item, and a span for each batch, linked to its items."""

    def __init__(self, tracer: Tracer, name: str) -> None:
        self._tracer = tracer
        self._name = name
        self._waiter_spans: dict[int, Span] = {}  # by id() of the item, while it waits

    @contextmanager
    def waiter_span(self, name: str, item: object) -> Iterator["Span"]:
        with self._tracer.span(name) as span:
            self._waiter_spans[id(item)] = span
            try:
                yield span
            finally:
                del self._waiter_spans[id(item)]

    @contextmanager
    def batch_span(self, items: Sequence[object], **attributes: int) -> Iterator[None]:
        """An item whose caller was cancelled is still in the batch, but has no link."""
        from opentelemetry.context import Context
        from opentelemetry.trace import Link

        spans = [
            self._waiter_spans[key] for item in items if (key := id(item)) in self._waiter_spans
        ]
        counts = {"finpay.batch.requests": len(items)}
        counts |= {f"finpay.batch.{name}": count for name, count in attributes.items()}
        links = [Link(span.get_span_context()) for span in spans]
        with self._tracer.span(self._name, "internal", counts, links, Context()) as batch:
            for span in spans:
                span.add_link(batch.get_span_context())
            yield


class TracedBatcher(Batcher):
    """Adds a span to each posting that waits for its batch, and one to each batch."""

    def __init__(
        self, tracer: Tracer, database: Database, refusals: Sequence[str], wake: Callable[[], None]
    ) -> None:
        super().__init__(database, refusals, wake)
        self._spans = BatchSpans(tracer, "ledger.batch")

    async def post(self, request: Posting) -> PostingResult:
        with self._spans.waiter_span("ledger.post", request) as span:
            posted = await super().post(request)
            span.set_attribute("finpay.outcome", posted.outcome)
            return posted

    async def _post(self, requests: Sequence[Posting]) -> list[PostingResult]:
        transfers = sum(len(request.items) for request in requests)
        with self._spans.batch_span(requests, transfers=transfers):
            return await super()._post(requests)


class TracedReader(BatchedReads):
    """Adds a span to each read that waits for its batch, and one to each batch of reads."""

    def __init__(self, tracer: Tracer, database: Database) -> None:
        super().__init__(database)
        self._spans = BatchSpans(tracer, "ledger.reads")

    async def _account(self, asked: AccountRead) -> Account | None:
        with self._spans.waiter_span("ledger.read", asked):
            return await super()._account(asked)

    async def _page(self, asked: FirstPageRead) -> History | None:
        with self._spans.waiter_span("ledger.read", asked):
            return await super()._page(asked)

    async def _read_accounts(self, asked: Sequence[AccountRead]) -> Sequence[Account | None]:
        with self._spans.batch_span(asked):
            return await super()._read_accounts(asked)

    async def _read_pages(self, asked: Sequence[FirstPageRead]) -> Sequence[History | None]:
        with self._spans.batch_span(asked):
            return await super()._read_pages(asked)
