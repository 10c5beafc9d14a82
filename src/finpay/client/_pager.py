"""Lists as iterators: pages are fetched as they are needed, filters sent again with each."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from finpay.client._models import Page
from finpay.client._operations import Operation, page_after, page_at

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pager(Generic[T]):
    """A list with its filters: iterate over it, over its `pages()`, or take one `page()`."""

    _call: Callable[[Operation[Page[T]]], Page[T]]
    _first: Operation[Page[T]]

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.data

    def pages(self) -> Iterator[Page[T]]:
        operation: Operation[Page[T]] | None = self._first
        while operation is not None:  # ends with the list: no cursor comes twice in a row
            page = self._call(operation)
            yield page
            operation = page_after(operation, page)

    def page(self, cursor: str | None = None) -> Page[T]:
        """One page: the first, or the one that a `next_cursor` leads to."""
        return self._call(page_at(self._first, cursor))


@dataclass(frozen=True, slots=True)
class AsyncPager(Generic[T]):
    """A list with its filters: `async for` over it or its `pages()`, or await one `page()`."""

    _call: Callable[[Operation[Page[T]]], Awaitable[Page[T]]]
    _first: Operation[Page[T]]

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.data:
                yield item

    async def pages(self) -> AsyncIterator[Page[T]]:
        operation: Operation[Page[T]] | None = self._first
        while operation is not None:  # ends with the list: no cursor comes twice in a row
            page = await self._call(operation)
            yield page
            operation = page_after(operation, page)

    async def page(self, cursor: str | None = None) -> Page[T]:
        """One page: the first, or the one that a `next_cursor` leads to."""
        return await self._call(page_at(self._first, cursor))
