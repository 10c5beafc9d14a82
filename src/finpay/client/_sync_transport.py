# Generated from _async_transport.py by tools/generate_sync_client.py: edit that file instead.
"""Carries out operations over httpx: retries, token refresh, pages."""

import threading
from collections.abc import Callable, Iterator
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


class Transport:
    """Sends the requests of one session. `http`, if given, stays open when this is closed."""

    def __init__(
        self,
        session: ClientSession,
        http: httpx.Client | None,
        sleep: Callable[[float], object],
        timeout_s: float | None,
    ) -> None:
        self.session = session
        self._http = http or httpx.Client(timeout=DEFAULT_TIMEOUT_S)
        self._owns_http = http is None
        self._sleep = sleep
        self._timeout = httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s
        self._refreshing = threading.Lock()

    def close(self) -> None:
        """Close the connections, unless `http` was given."""
        if self._owns_http:
            self._http.close()

    def call(self, operation: Operation[T]) -> T:
        """The operation's result. A RequestFailed names the idempotency key of a payment."""
        try:
            return self._attempt(operation)
        except RequestFailed as failure:
            failure.idempotency_key = operation.idempotency_key
            raise

    def send(self, request: HttpRequest) -> HttpResponse:
        """One request, one response, whatever its status. ConnectionFailed without a response."""
        try:
            response = self._http.request(
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

    def _attempt(self, operation: Operation[T]) -> T:
        retries = Retries(self.session.retry_policy)
        may_refresh = operation.authenticated
        while True:  # ends: at most one refresh, and as many pauses as the policy allows
            access_token = self.session.access_token
            try:
                request = operation.request(self.session.base_url, access_token)
                result = read(operation, self.send(request))
            except RequestFailed as failure:
                if may_refresh and needs_login(failure) and self._refresh(access_token):
                    may_refresh = False
                    continue
                delay_s = retries.next_delay_s(operation, failure, jitter=self.session.jitter())
                if delay_s is None:
                    raise
            else:
                self.session.store_tokens(result)
                return result
            self._sleep(delay_s)

    def _refresh(self, refused: str | None) -> bool:
        """Whether there is another access token than the `refused` one. One caller at a time."""
        with self._refreshing:
            refresh_token = self.session.refresh_token_after(refused)
            if refresh_token is not None:
                try:
                    self.call(_operations.refresh(refresh_token))
                except ApiError as refusal:
                    if not has_ended(refusal):
                        raise
                    self.session.forget_tokens()
        return self.session.access_token not in {None, refused}


@dataclass(frozen=True, slots=True)
class Pager(Generic[T]):
    """A list: iterate over its items or over its `pages()`, or read one `page()`."""

    _transport: Transport
    _first: Operation[Page[T]]

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.data

    def pages(self) -> Iterator[Page[T]]:
        """Every page from the first one. Every request repeats the filters."""
        operation: Operation[Page[T]] | None = self._first
        while operation is not None:  # ends with the list: page_after refuses a repeated cursor
            page = self._transport.call(operation)
            yield page
            operation = page_after(operation, page)

    def page(self, cursor: str | None = None) -> Page[T]:
        """One page: the first, or the page of a `next_cursor`."""
        return self._transport.call(page_at(self._first, cursor))
