"""`AsyncFinPay`: the client for asyncio. Tasks of one event loop may share one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal, Self, TypeVar, Unpack

import httpx

from finpay.client import _operations, _retry, _webhook_operations
from finpay.client._errors import FAILURES, NETWORK_ERRORS, connection_failed
from finpay.client._flow import (
    DEFAULT_TIMEOUT_S,
    ClientSession,
    Flow,
    Options,
    Pause,
    Renew,
    Send,
    Step,
)
from finpay.client._models import (
    Account,
    Batch,
    Delivery,
    Entry,
    Event,
    Health,
    Login,
    Tokens,
    Transaction,
    User,
    WebhookEndpoint,
)
from finpay.client._operations import (
    BatchTransfer,
    EntryFilters,
    EventFilters,
    Operation,
    TransactionFilters,
    Transfer,
)
from finpay.client._pager import AsyncPager
from finpay.client._requests import Answer, Request, encode
from finpay.client._webhook_operations import DeliveryFilters, EndpointChange

T = TypeVar("T")


class AsyncFinPay:
    """FinPay at `base_url`, the server's root. Close it, or use it in an `async with`.

    Every method raises FinPayError (as ApiError) for a refusal, ConnectionFailed if no answer came
    and UnexpectedResponse if something other than FinPay answered. What may be repeated is, with
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
        self._conversation = ClientSession(base_url, options)
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
    def last_response(self) -> Answer | None:
        """The newest answer that came, retries included, whichever task asked."""
        return self._conversation.last_response

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

    def entries(self, **filters: Unpack[EntryFilters]) -> AsyncPager[Entry]:
        """The account's ledger entries, newest first."""
        return AsyncPager(self._call, _operations.entries(filters))

    async def send(self, **transfer: Unpack[Transfer]) -> Transaction:
        """Send money, exactly once: all tries carry one idempotency key."""
        return await self._call(_operations.send(transfer, self._conversation.new_key()))

    async def send_batch(
        self,
        transfers: Sequence[BatchTransfer],
        *,
        mode: Literal["independent", "atomic"] = "independent",
        idempotency_key: str | None = None,
    ) -> Batch:
        """Send money up to 1 000 times: each for itself, or (atomic) all, or none and ApiError."""
        key = self._conversation.new_key()
        return await self._call(_operations.send_batch(transfers, mode, idempotency_key, key))

    async def transaction(self, transaction_id: str) -> Transaction:
        """One transaction that the caller is a party of."""
        return await self._call(_operations.transaction(transaction_id))

    def transactions(self, **filters: Unpack[TransactionFilters]) -> AsyncPager[Transaction]:
        """The caller's history, newest first."""
        return AsyncPager(self._call, _operations.transactions(filters))

    async def create_webhook_endpoint(
        self,
        url: str,
        event_types: Sequence[str],
        *,
        description: str | None = None,
        enabled: bool = True,
    ) -> WebhookEndpoint:
        """Be told of events, such as `["transaction.*"]`. The answer alone has the secret."""
        return await self._call(
            _webhook_operations.create_endpoint(url, event_types, description, enabled=enabled)
        )

    def webhook_endpoints(self, *, limit: int | None = None) -> AsyncPager[WebhookEndpoint]:
        """The caller's webhook endpoints, newest first."""
        return AsyncPager(self._call, _webhook_operations.endpoints(limit))

    async def webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """One of the caller's webhook endpoints."""
        return await self._call(_webhook_operations.endpoint(endpoint_id))

    async def change_webhook_endpoint(
        self, endpoint_id: str, **change: Unpack[EndpointChange]
    ) -> WebhookEndpoint:
        """Set what is named. Enabled again, it starts without failures behind it."""
        return await self._call(_webhook_operations.change_endpoint(endpoint_id, change))

    async def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """Nothing is sent there any more."""
        await self._call(_webhook_operations.delete_endpoint(endpoint_id))

    async def rotate_webhook_secret(
        self, endpoint_id: str, *, overlap_s: int | None = None
    ) -> WebhookEndpoint:
        """A new secret, in the answer. The old one signs too for `overlap_s`, or a day."""
        return await self._call(_webhook_operations.rotate_secret(endpoint_id, overlap_s))

    async def ping_webhook_endpoint(self, endpoint_id: str) -> Delivery:
        """Send a ping there."""
        return await self._call(_webhook_operations.ping(endpoint_id))

    async def replay_webhooks(
        self,
        endpoint_id: str,
        since: datetime,
        *,
        until: datetime | None = None,
        only_failed: bool = False,
    ) -> int:
        """Send the events of a time once more; how many were queued."""
        replayed = await self._call(
            _webhook_operations.replay(endpoint_id, since, until, only_failed=only_failed)
        )
        return replayed.queued

    def deliveries(
        self, endpoint_id: str, **filters: Unpack[DeliveryFilters]
    ) -> AsyncPager[Delivery]:
        """What became of each event on its way to an endpoint, newest first."""
        return AsyncPager(self._call, _webhook_operations.deliveries(endpoint_id, filters))

    async def delivery(self, delivery_id: str) -> Delivery:
        """One delivery, with its attempts."""
        return await self._call(_webhook_operations.delivery(delivery_id))

    async def retry_delivery(self, delivery_id: str) -> Delivery:
        """Send it once more, now."""
        return await self._call(_webhook_operations.retry(delivery_id))

    def events(self, **filters: Unpack[EventFilters]) -> AsyncPager[Event]:
        """What happened, newest first; from `after_sequence` on, so that nothing is missed."""
        return AsyncPager(self._call, _operations.events(filters))

    async def event(self, event_id: str) -> Event:
        """One event of the caller's account."""
        return await self._call(_operations.event(event_id))

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
        params: _retry.Params | None = None,
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
        while True:  # every flow ends by itself: see ClientSession
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
