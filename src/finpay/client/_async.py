"""`AsyncFinPay`: the client for asyncio. Tasks of one event loop may share one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Self, TypeVar, Unpack

import httpx

from finpay.client import _core, _operations
from finpay.client._conversation import (
    DEFAULT_TIMEOUT_S,
    Conversation,
    Flow,
    Options,
    Pause,
    Renew,
    Send,
    Step,
)
from finpay.client._failures import FAILURES, NETWORK_ERRORS, connection_failed
from finpay.client._listing import AsyncListing
from finpay.client._messages import Answer, Request, encode
from finpay.client._operations import EntryFilters, Operation, TransactionFilters, Transfer
from finpay.client._shapes import Account, Entry, Health, Login, Tokens, Transaction, User

T = TypeVar("T")


class AsyncFinPay:
    """FinPay at `base_url`, the server's root. Close it, or use it in an `async with`.

    Every method raises FinPayError (as ApiError) for a refusal, ConnectionFailed if no answer came
    and UnexpectedAnswer if something other than FinPay answered. What may be repeated is, with
    backoff and the server's Retry-After. `http` is an httpx client of one's own; it stays open.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:3000",
        *,
        http: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        **options: Unpack[Options],
    ) -> None:
        self._conversation = Conversation(base_url, options)
        self._http = http or httpx.AsyncClient(timeout=DEFAULT_TIMEOUT_S)
        self._owns_http = http is None
        self._timeout = options.get("timeout_s") or httpx.USE_CLIENT_DEFAULT
        self._sleep = sleep
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, unless they are of a client that was handed in."""
        if self._owns_http:
            await self._http.aclose()

    @property
    def access_token(self) -> str | None:
        return self._conversation.access_token

    @property
    def refresh_token(self) -> str | None:
        return self._conversation.refresh_token

    @property
    def last_answer(self) -> Answer | None:
        """The newest answer that came, retries included, whichever task asked."""
        return self._conversation.last_answer

    async def register(
        self, email: str, password: str, *, name: str | None = None, currency: str | None = None
    ) -> Login:
        """Create a user with an account (ZAR unless told), and go on as that user."""
        return await self._call(_operations.register(email, password, name, currency))

    async def login(self, email: str, password: str) -> Login:
        """Begin a session, and go on with its tokens; they are renewed when they expire."""
        return await self._call(_operations.login(email, password))

    async def refresh(self) -> Tokens:
        """Trade the refresh token now. Not needed: a call that is refused for its age does it."""
        return await self._run(self._conversation.refresh())

    async def logout(self) -> None:
        """End the session and forget its tokens."""
        await self._run(self._conversation.logout())

    async def change_password(self, current_password: str, new_password: str) -> None:
        """Ends the user's other sessions; this one goes on."""
        await self._call(_operations.change_password(current_password, new_password))

    async def me(self) -> User:
        """The user who is logged in."""
        return await self._call(_operations.me())

    async def account(self) -> Account:
        """The caller's account and its balance."""
        return await self._call(_operations.account())

    def entries(self, **filters: Unpack[EntryFilters]) -> AsyncListing[Entry]:
        """The account's ledger entries, newest first."""
        return AsyncListing(self._call, _operations.entries(filters))

    async def send(self, **transfer: Unpack[Transfer]) -> Transaction:
        """Send money, exactly once: all tries carry one idempotency key."""
        return await self._call(_operations.send(transfer, self._conversation.new_key()))

    async def transaction(self, transaction_id: str) -> Transaction:
        """One transaction that the caller is a party of."""
        return await self._call(_operations.transaction(transaction_id))

    def transactions(self, **filters: Unpack[TransactionFilters]) -> AsyncListing[Transaction]:
        """The caller's history, newest first."""
        return AsyncListing(self._call, _operations.transactions(filters))

    async def health(self) -> Health:
        """How the server is; "down" is an answer too, not an error."""
        return await self._call(_operations.health())

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
        params: _core.Params | None = None,
    ) -> Answer:
        """Send one request as told, once, and give its answer whatever its status.

        `path` begins at the server's root (`/api/v1/accounts`). The access token and, with a body,
        `Content-Type: application/json` are added; a header of None drops one of these.
        """
        body = content if json is None else encode(json)
        return await self._run(self._conversation.exchange(method, path, body, headers, params))

    async def _call(self, operation: Operation[T]) -> T:
        return await self._run(self._conversation.perform(operation))

    async def _run(self, flow: Flow[T]) -> T:
        """Carry out a flow's steps until it returns or raises."""
        advance: Callable[[], Step] = partial(next, flow)
        while True:  # every flow ends by itself: see Conversation
            try:
                step = advance()
            except StopIteration as end:
                value: T = end.value
                return value
            try:
                advance = partial(flow.send, await self._carry_out(step))
            except FAILURES as failure:
                advance = partial(flow.throw, failure)

    async def _carry_out(self, step: Step) -> Answer | None:
        match step:
            case Send(request):
                return await self._send(request)
            case Pause(delay_s):
                await self._sleep(delay_s)
            case Renew(stale):
                async with self._renewing:
                    await self._run(self._conversation.renew(stale))
        return None

    async def _send(self, request: Request) -> Answer:
        try:
            reply = await self._http.request(
                request.method,
                request.url,
                headers=request.headers,
                content=request.content,
                timeout=self._timeout,
            )
        except NETWORK_ERRORS as error:
            raise connection_failed(error, request) from error
        return Answer(reply.status_code, reply.headers, reply.content)
