"""The interface by which tracing observes batches and their items; without tracing, no work."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, TypeAlias

RecordOutcome: TypeAlias = Callable[[str], None]


class BatchObserver(Protocol):
    """Entered around the wait of each item for its result, and around each batch."""

    def item(self, item: object) -> AbstractContextManager[RecordOutcome]: ...

    def batch(self, items: Sequence[object], weight: int) -> AbstractContextManager[None]: ...


class NoObserver:
    """The observer without tracing."""

    def item(self, _: object) -> AbstractContextManager[RecordOutcome]:
        return _IGNORED_ITEM

    def batch(self, _: Sequence[object], __: int) -> AbstractContextManager[None]:
        return _IGNORED_BATCH


def _ignore(_: str) -> None:
    pass


# Context managers without state: one for all items, as each transfer enters it.
_IGNORED_ITEM: Final = nullcontext(_ignore)
_IGNORED_BATCH: Final = nullcontext()


NO_OBSERVER: Final = NoObserver()
