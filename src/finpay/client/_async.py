"""`AsyncFinPay`: the client for asyncio. Any task of one event loop may use it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Literal, Self, Unpack

import httpx

from finpay.client import _operations, _webhook_operations
from finpay.client._async_identity import AsyncIdentityMethods
from finpay.client._async_operators import AsyncOperatorMethods
from finpay.client._async_payments import AsyncPayments
from finpay.client._async_requests import AsyncRequestMethods
from finpay.client._async_transport import AsyncPager, AsyncTransport
from finpay.client._identity_models import (
    Login,
    Tokens,
)
from finpay.client._models import (
    Account,
    Delivery,
    Entry,
    Event,
    Health,
    Transaction,
    User,
    WebhookEndpoint,
)
from finpay.client._operations import (
    EntryFilters,
    EventFilters,
    TransactionFilters,
)
from finpay.client._requests import HttpResponse, Params, encode
from finpay.client._session import ClientSession, Options
from finpay.client._statement_models import Balance, Statement
from finpay.client._webhook_operations import DeliveryFilters, WebhookEndpointUpdate
from finpay.errors import Code, FinPayError


class AsyncFinPay(AsyncPayments, AsyncRequestMethods, AsyncIdentityMethods):
    """FinPay at `base_url`, the server's root. Close it, or use it in an `async with`.

    Amounts are integers in minor units, times are aware datetimes, ids are text such as `txn_…`.
    Every method raises a FinPayError: ApiError for a refusal, ConnectionFailed without a response,
    UnexpectedResponse for one that is not FinPay's. What is safe to repeat is retried, with backoff
    and never before the server's Retry-After. `http` is your own httpx client; it stays open.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:3000",
        *,
        http: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        **options: Unpack[Options],
    ) -> None:
        session = ClientSession(base_url, options)
        super().__init__(session, AsyncTransport(session, http, sleep, options.get("timeout_s")))

    @property
    def operator(self) -> AsyncOperatorMethods:
        """What a user with the role operator or auditor may do."""
        return AsyncOperatorMethods(self._session, self._transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; those of a client given as `http` stay open."""
        await self._transport.close()

    @property
    def base_url(self) -> str:
        """The root of the server, without a slash at its end."""
        return self._session.base_url

    @property
    def access_token(self) -> str | None:
        """The access token of the login; None before it and after logout."""
        return self._session.access_token

    @property
    def refresh_token(self) -> str | None:
        """The refresh token of the login. Each works once: store the newest."""
        return self._session.refresh_token

    @property
    def last_response(self) -> HttpResponse | None:
        """The newest response, of any caller and any attempt: rate limits, request id."""
        return self._session.last_response

    async def register(
        self, email: str, password: str, *, name: str | None = None, currency: str | None = None
    ) -> Login:
        """Create a user with an account (ZAR by default) and log in as that user."""
        return await self._call(_operations.register(email, password, name, currency))

    async def login(self, email: str, password: str) -> Login:
        """Start a session. Its tokens are used from then on, and renewed when they expire."""
        return await self._call(_operations.login(email, password))

    async def refresh(self) -> Tokens:
        """Renew the tokens now. A call whose access token has expired does this by itself."""
        token = self.refresh_token
        if token is None:
            raise FinPayError(Code.REFRESH_TOKEN_INVALID, "There is no refresh token: log in.")
        return await self._call(_operations.refresh(token))

    async def logout(self) -> None:
        """End the session and forget its tokens."""
        await self._call(_operations.logout())
        self._session.forget_tokens()

    async def change_password(self, current_password: str, new_password: str) -> Tokens:
        """Change the password, end the user's other sessions, and keep the new tokens."""
        return await self._call(_operations.change_password(current_password, new_password))

    async def me(self) -> User:
        """The user who is logged in."""
        return await self._call(_operations.me())

    async def account(self) -> Account:
        """The user's account with its balance."""
        return await self._call(_operations.account())

    def entries(self, **filters: Unpack[EntryFilters]) -> AsyncPager[Entry]:
        """The account's ledger entries, newest first."""
        return AsyncPager(self._transport, _operations.entries(filters))

    async def balance(self, *, at: datetime | None = None, version: int | None = None) -> Balance:
        """The balance after the last entry of a moment, or of a version: exactly one of them."""
        return await self._call(_operations.balance(at, version))

    async def statement(self, start: date, end: date, *, timezone: str | None = None) -> Statement:
        """All entries from one day to another, both included, in a time zone (UTC by default)."""
        return await self._call(_operations.statement(start, end, timezone))

    async def statement_file(
        self,
        start: date,
        end: date,
        *,
        file_format: Literal["csv", "pdf"] = "pdf",
        timezone: str | None = None,
    ) -> bytes:
        """The same statement as a file."""
        return await self._call(_operations.statement_file(start, end, timezone, file_format))

    async def transaction(self, transaction_id: str) -> Transaction:
        """One of the account's transactions."""
        return await self._call(_operations.transaction(transaction_id))

    def transactions(self, **filters: Unpack[TransactionFilters]) -> AsyncPager[Transaction]:
        """The account's transactions, newest first."""
        return AsyncPager(self._transport, _operations.transactions(filters))

    async def event(self, event_id: str) -> Event:
        """One event of the account."""
        return await self._call(_operations.event(event_id))

    def events(self, **filters: Unpack[EventFilters]) -> AsyncPager[Event]:
        """The account's events, newest first; oldest first with `after_sequence`."""
        return AsyncPager(self._transport, _operations.events(filters))

    async def create_webhook_endpoint(
        self,
        url: str,
        event_types: Sequence[str],
        *,
        description: str | None = None,
        enabled: bool = True,
    ) -> WebhookEndpoint:
        """Subscribe `url` to event types, such as `["transaction.*"]`. Returns the secret once."""
        return await self._call(
            _webhook_operations.create_endpoint(url, event_types, description, enabled=enabled)
        )

    async def webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """One of the user's webhook endpoints, without its secret."""
        return await self._call(_webhook_operations.endpoint(endpoint_id))

    def webhook_endpoints(self, *, limit: int | None = None) -> AsyncPager[WebhookEndpoint]:
        """The user's webhook endpoints, newest first."""
        return AsyncPager(self._transport, _webhook_operations.endpoints(limit))

    async def update_webhook_endpoint(
        self, endpoint_id: str, **changes: Unpack[WebhookEndpointUpdate]
    ) -> WebhookEndpoint:
        """Change the given members. Enabling an endpoint resets its count of failures."""
        return await self._call(_webhook_operations.update_endpoint(endpoint_id, changes))

    async def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """Delete an endpoint and cancel its pending deliveries."""
        await self._call(_webhook_operations.delete_endpoint(endpoint_id))

    async def rotate_webhook_secret(
        self, endpoint_id: str, *, overlap_s: int | None = None
    ) -> WebhookEndpoint:
        """Return a new secret. The old one signs as well for `overlap_s` (a day by default)."""
        return await self._call(_webhook_operations.rotate_secret(endpoint_id, overlap_s))

    async def ping_webhook_endpoint(self, endpoint_id: str) -> Delivery:
        """Send a test event to an endpoint."""
        return await self._call(_webhook_operations.ping(endpoint_id))

    async def replay_events(
        self,
        endpoint_id: str,
        since: datetime,
        *,
        until: datetime | None = None,
        only_failed: bool = False,
    ) -> int:
        """Redeliver the events of a time range. Returns the number of deliveries queued."""
        replay = _webhook_operations.replay(endpoint_id, since, until, only_failed=only_failed)
        return (await self._call(replay)).queued

    async def delivery(self, delivery_id: str) -> Delivery:
        """One delivery with its attempts."""
        return await self._call(_webhook_operations.delivery(delivery_id))

    def deliveries(
        self, endpoint_id: str, **filters: Unpack[DeliveryFilters]
    ) -> AsyncPager[Delivery]:
        """The deliveries to an endpoint, newest first."""
        return AsyncPager(self._transport, _webhook_operations.deliveries(endpoint_id, filters))

    async def retry_delivery(self, delivery_id: str) -> Delivery:
        """Redeliver its event now."""
        return await self._call(_webhook_operations.retry(delivery_id))

    async def health(self) -> Health:
        """The server's health. A status of "down" is a result, not an error."""
        return await self._call(_operations.health())

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
        params: Params | None = None,
    ) -> HttpResponse:
        """Send one request without retries, and return its response whatever the status.

        `path` starts at the server's root (`/api/v1/accounts`). The access token and, with a body,
        `Content-Type: application/json` are added; a header of None removes one of these.
        """
        body = content if json is None else encode(json)
        request = self._session.raw_request(method, path, body, headers, params)
        return await self._transport.send(request)
