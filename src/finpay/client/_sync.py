# Generated from _async.py by tools/generate_sync_client.py: edit that file instead.
"""`FinPay`: the client without asyncio. Any thread may use it."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Literal, Self, Unpack

import httpx

from finpay.client import _operations, _webhook_operations
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
from finpay.client._sync_identity import IdentityMethods
from finpay.client._sync_operators import OperatorMethods
from finpay.client._sync_payments import Payments
from finpay.client._sync_requests import RequestMethods
from finpay.client._sync_transport import Pager, Transport
from finpay.client._webhook_operations import DeliveryFilters, WebhookEndpointUpdate
from finpay.errors import Code, FinPayError


class FinPay(Payments, RequestMethods, IdentityMethods):
    """FinPay at `base_url`, the server's root. Close it, or use it in a `with`.

    Amounts are integers in minor units, times are aware datetimes, ids are text such as `txn_…`.
    Every method raises a FinPayError: ApiError for a refusal, ConnectionFailed without a response,
    UnexpectedResponse for one that is not FinPay's. What is safe to repeat is retried, with backoff
    and never before the server's Retry-After. `http` is your own httpx client; it stays open.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:3000",
        *,
        http: httpx.Client | None = None,
        sleep: Callable[[float], object] = time.sleep,
        **options: Unpack[Options],
    ) -> None:
        session = ClientSession(base_url, options)
        super().__init__(session, Transport(session, http, sleep, options.get("timeout_s")))

    @property
    def operator(self) -> OperatorMethods:
        """What a user with the role operator or auditor may do."""
        return OperatorMethods(self._session, self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; those of a client given as `http` stay open."""
        self._transport.close()

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

    def register(
        self, email: str, password: str, *, name: str | None = None, currency: str | None = None
    ) -> Login:
        """Create a user with an account (ZAR by default) and log in as that user."""
        return self._call(_operations.register(email, password, name, currency))

    def login(self, email: str, password: str) -> Login:
        """Start a session. Its tokens are used from then on, and renewed when they expire."""
        return self._call(_operations.login(email, password))

    def refresh(self) -> Tokens:
        """Renew the tokens now. A call whose access token has expired does this by itself."""
        token = self.refresh_token
        if token is None:
            raise FinPayError(Code.REFRESH_TOKEN_INVALID, "There is no refresh token: log in.")
        return self._call(_operations.refresh(token))

    def logout(self) -> None:
        """End the session and forget its tokens."""
        self._call(_operations.logout())
        self._session.forget_tokens()

    def change_password(self, current_password: str, new_password: str) -> Tokens:
        """Change the password, end the user's other sessions, and keep the new tokens."""
        return self._call(_operations.change_password(current_password, new_password))

    def me(self) -> User:
        """The user who is logged in."""
        return self._call(_operations.me())

    def account(self) -> Account:
        """The user's account with its balance."""
        return self._call(_operations.account())

    def entries(self, **filters: Unpack[EntryFilters]) -> Pager[Entry]:
        """The account's ledger entries, newest first."""
        return Pager(self._transport, _operations.entries(filters))

    def balance(self, *, at: datetime | None = None, version: int | None = None) -> Balance:
        """The balance after the last entry of a moment, or of a version: exactly one of them."""
        return self._call(_operations.balance(at, version))

    def statement(self, start: date, end: date, *, timezone: str | None = None) -> Statement:
        """All entries from one day to another, both included, in a time zone (UTC by default)."""
        return self._call(_operations.statement(start, end, timezone))

    def statement_file(
        self,
        start: date,
        end: date,
        *,
        file_format: Literal["csv", "pdf"] = "pdf",
        timezone: str | None = None,
    ) -> bytes:
        """The same statement as a file."""
        return self._call(_operations.statement_file(start, end, timezone, file_format))

    def transaction(self, transaction_id: str) -> Transaction:
        """One of the account's transactions."""
        return self._call(_operations.transaction(transaction_id))

    def transactions(self, **filters: Unpack[TransactionFilters]) -> Pager[Transaction]:
        """The account's transactions, newest first."""
        return Pager(self._transport, _operations.transactions(filters))

    def event(self, event_id: str) -> Event:
        """One event of the account."""
        return self._call(_operations.event(event_id))

    def events(self, **filters: Unpack[EventFilters]) -> Pager[Event]:
        """The account's events, newest first; oldest first with `after_sequence`."""
        return Pager(self._transport, _operations.events(filters))

    def create_webhook_endpoint(
        self,
        url: str,
        event_types: Sequence[str],
        *,
        description: str | None = None,
        enabled: bool = True,
    ) -> WebhookEndpoint:
        """Subscribe `url` to event types, such as `["transaction.*"]`. Returns the secret once."""
        return self._call(
            _webhook_operations.create_endpoint(url, event_types, description, enabled=enabled)
        )

    def webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """One of the user's webhook endpoints, without its secret."""
        return self._call(_webhook_operations.endpoint(endpoint_id))

    def webhook_endpoints(self, *, limit: int | None = None) -> Pager[WebhookEndpoint]:
        """The user's webhook endpoints, newest first."""
        return Pager(self._transport, _webhook_operations.endpoints(limit))

    def update_webhook_endpoint(
        self, endpoint_id: str, **changes: Unpack[WebhookEndpointUpdate]
    ) -> WebhookEndpoint:
        """Change the given members. Enabling an endpoint resets its count of failures."""
        return self._call(_webhook_operations.update_endpoint(endpoint_id, changes))

    def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """Delete an endpoint and cancel its pending deliveries."""
        self._call(_webhook_operations.delete_endpoint(endpoint_id))

    def rotate_webhook_secret(
        self, endpoint_id: str, *, overlap_s: int | None = None
    ) -> WebhookEndpoint:
        """Return a new secret. The old one signs as well for `overlap_s` (a day by default)."""
        return self._call(_webhook_operations.rotate_secret(endpoint_id, overlap_s))

    def ping_webhook_endpoint(self, endpoint_id: str) -> Delivery:
        """Send a test event to an endpoint."""
        return self._call(_webhook_operations.ping(endpoint_id))

    def replay_events(
        self,
        endpoint_id: str,
        since: datetime,
        *,
        until: datetime | None = None,
        only_failed: bool = False,
    ) -> int:
        """Redeliver the events of a time range. Returns the number of deliveries queued."""
        replay = _webhook_operations.replay(endpoint_id, since, until, only_failed=only_failed)
        return (self._call(replay)).queued

    def delivery(self, delivery_id: str) -> Delivery:
        """One delivery with its attempts."""
        return self._call(_webhook_operations.delivery(delivery_id))

    def deliveries(self, endpoint_id: str, **filters: Unpack[DeliveryFilters]) -> Pager[Delivery]:
        """The deliveries to an endpoint, newest first."""
        return Pager(self._transport, _webhook_operations.deliveries(endpoint_id, filters))

    def retry_delivery(self, delivery_id: str) -> Delivery:
        """Redeliver its event now."""
        return self._call(_webhook_operations.retry(delivery_id))

    def health(self) -> Health:
        """The server's health. A status of "down" is a result, not an error."""
        return self._call(_operations.health())

    def request(
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
        return self._transport.send(request)
