"""Spans of what travels together: who waits, and the batch that carries them."""

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
    """Who waits for a batch, and the batches: a request's wait is a span, and each batch is one
    that links to those that it carries."""

    def __init__(self, tracer: Tracer, name: str) -> None:
        self._tracer = tracer
        self._name = name
        self._waiting: dict[int, Span] = {}  # by the identity of the item, while it waits

    @contextmanager
    def waiting(self, name: str, item: object) -> Iterator["Span"]:
        with self._tracer.span(name) as span:
            self._waiting[id(item)] = span
            try:
                yield span
            finally:
                del self._waiting[id(item)]

    @contextmanager
    def together(self, items: Sequence[object], **attributes: int) -> Iterator[None]:
        """Who gave up waiting is carried all the same, without a link."""
        from opentelemetry.context import Context
        from opentelemetry.trace import Link

        waiting = [self._waiting[key] for each in items if (key := id(each)) in self._waiting]
        told = {"finpay.batch.requests": len(items)}
        told |= {f"finpay.batch.{name}": count for name, count in attributes.items()}
        links = [Link(span.get_span_context()) for span in waiting]
        with self._tracer.span(self._name, "internal", told, links, Context()) as batch:
            for span in waiting:
                span.add_link(batch.get_span_context())
            yield


class TracedBatcher(Batcher):
    """Its requests wait in company."""

    def __init__(
        self, tracer: Tracer, database: Database, refusals: Sequence[str], wake: Callable[[], None]
    ) -> None:
        super().__init__(database, refusals, wake)
        self._company = BatchSpans(tracer, "ledger.batch")

    async def post(self, request: Posting) -> PostingResult:
        with self._company.waiting("ledger.post", request) as span:
            posted = await super().post(request)
            span.set_attribute("finpay.outcome", posted.outcome)
            return posted

    async def _post(self, requests: Sequence[Posting]) -> list[PostingResult]:
        transfers = sum(len(request.items) for request in requests)
        with self._company.together(requests, transfers=transfers):
            return await super()._post(requests)


class TracedReader(BatchedReads):
    """The same for those who read."""

    def __init__(self, tracer: Tracer, database: Database) -> None:
        super().__init__(database)
        self._company = BatchSpans(tracer, "ledger.reads")

    async def _account(self, asked: AccountRead) -> Account | None:
        with self._company.waiting("ledger.read", asked):
            return await super()._account(asked)

    async def _page(self, asked: FirstPageRead) -> History | None:
        with self._company.waiting("ledger.read", asked):
            return await super()._page(asked)

    async def _read_accounts(self, asked: Sequence[AccountRead]) -> Sequence[Account | None]:
        with self._company.together(asked):
            return await super()._read_accounts(asked)

    async def _read_pages(self, asked: Sequence[FirstPageRead]) -> Sequence[History | None]:
        with self._company.together(asked):
            return await super()._read_pages(asked)
