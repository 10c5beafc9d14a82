"""What sees batches and their items, for tracing: nothing, unless an observer is given."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias

RecordOutcome: TypeAlias = Callable[[str], None]


class BatchObserver(Protocol):
    """Entered around the wait of each item for its result, and around each batch."""

    def item(self, item: object) -> AbstractContextManager[RecordOutcome]: ...

    def batch(self, items: Sequence[object], weight: int) -> AbstractContextManager[None]: ...


class NoObserver:
    """The observer without tracing."""

    def item(self, _: object) -> AbstractContextManager[RecordOutcome]:
        return nullcontext(_ignore)

    def batch(self, _: Sequence[object], __: int) -> AbstractContextManager[None]:
        return nullcontext()


def _ignore(_: str) -> None:
    pass


NO_OBSERVER = NoObserver()
