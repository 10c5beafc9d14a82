"""Carries out operations over httpx: retries, token refresh, pages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx

from finpay.client import _operations
from finpay.client._errors import NETWORK_ERRORS, ApiError, RequestFailed, connection_failed
from finpay.client._models import Page
from finpay.client._operations import Operation, page_after, page_at
from finpay.client._requests import HttpRequest, HttpResponse
from finpay.client._responses import read
from finpay.client._retry import Retries
from finpay.client._session import DEFAULT_TIMEOUT_S, ClientSession, has_ended, needs_login

T = TypeVar("T")


class AsyncTransport:
    """Sends the requests of one session. `http`, if given, stays open when this is closed."""

    def __init__(
        self,
        session: ClientSession,
        http: httpx.AsyncClient | None,
        sleep: Callable[[float], Awaitable[object]],
        timeout_s: float | None,
    ) -> None:
        self.session = session
        self._http = http or httpx.AsyncClient(timeout=DEFAULT_TIMEOUT_S)
        self._owns_http = http is None
        self._sleep = sleep
        self._timeout = httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s
        self._refreshing = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections, unless `http` was given."""
        if self._owns_http:
            await self._http.aclose()

    async def call(self, operation: Operation[T]) -> T:
        """The operation's result. A RequestFailed names the idempotency key of a payment."""
        try:
            return await self._attempt(operation)
        except RequestFailed as failure:
            failure.idempotency_key = operation.idempotency_key
            raise

    async def send(self, request: HttpRequest) -> HttpResponse:
        """One request, one response, whatever its status. ConnectionFailed without a response."""
        try:
            response = await self._http.request(
                request.method,
                request.url,
                headers=request.headers,
                content=request.content,
                timeout=self._timeout,
            )
        except NETWORK_ERRORS as error:
            raise connection_failed(error, request) from error
        received = HttpResponse(response.status_code, response.headers, response.content)
        self.session.last_response = received
        return received

    async def _attempt(self, operation: Operation[T]) -> T:
        retries = Retries(self.session.retry_policy)
        may_refresh = operation.authenticated
        while True:  # ends: at most one refresh, and as many pauses as the policy allows
            access_token = self.session.access_token
            try:
                request = operation.request(self.session.base_url, access_token)
                result = read(operation, await self.send(request))
            except RequestFailed as failure:
                if may_refresh and needs_login(failure) and await self._refresh(access_token):
                    may_refresh = False
                    continue
                delay_s = retries.next_delay_s(operation, failure, jitter=self.session.jitter())
                if delay_s is None:
                    raise
            else:
                self.session.store_tokens(result)
                return result
            await self._sleep(delay_s)

    async def _refresh(self, refused: str | None) -> bool:
        """Whether there is another access token than the `refused` one. One caller at a time."""
        async with self._refreshing:
            refresh_token = self.session.refresh_token_after(refused)
            if refresh_token is not None:
                try:
                    await self.call(_operations.refresh(refresh_token))
                except ApiError as refusal:
                    if not has_ended(refusal):
                        raise
                    self.session.forget_tokens()
        return self.session.access_token not in {None, refused}


@dataclass(frozen=True, slots=True)
class AsyncPager(Generic[T]):
    """A list: iterate over its items or over its `pages()`, or read one `page()`."""

    _transport: AsyncTransport
    _first: Operation[Page[T]]

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.data:
                yield item

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Every page from the first one. Every request repeats the filters."""
        operation: Operation[Page[T]] | None = self._first
        while operation is not None:  # ends with the list: page_after refuses a repeated cursor
            page = await self._transport.call(operation)
            yield page
            operation = page_after(operation, page)

    async def page(self, cursor: str | None = None) -> Page[T]:
        """One page: the first, or the page of a `next_cursor`."""
        return await self._transport.call(page_at(self._first, cursor))
