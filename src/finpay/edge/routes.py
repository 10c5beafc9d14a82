"""The whole public surface on one screen."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec import Struct

from finpay.edge.handlers import (
    accounts,
    auth,
    deliveries,
    events,
    service,
    transactions,
    transfer_batches,
    webhook_endpoints,
)
from finpay.edge.request import query_params
from finpay.edge.request.json_body import MAX_BATCH_BYTES, MAX_BODY_BYTES
from finpay.edge.request.model import Context, Response
from finpay.edge.schemas import requests, responses
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.identity.resources import User
from finpay.ledger.resources import Account, Transaction
from finpay.outbox.resources import Event

Handler = Callable[[Services, Context], Awaitable[Response]]
Passes = Literal["user", "stranger", "free"]

_DIRECTION: Final = query_params.one_of("sent", "received")
_STATUS: Final = query_params.one_of("pending", "completed", "failed", "reversed")
_TIMES: Final[Mapping[str, query_params.Parser]] = {
    "created_from": query_params.time,
    "created_to": query_params.time,
}
_FILTERS: Final[Mapping[str, query_params.Parser]] = {
    "direction": _DIRECTION,
    "status": _STATUS,
    **_TIMES,
    "amount_min": query_params.amount,
    "amount_max": query_params.amount,
    "counterparty_id": query_params.account_id,
    "idempotency_key": query_params.idempotency_key,
}


_TRANSFER_REFUSALS: Final = (
    Code.IDEMPOTENCY_KEY_MISSING, Code.IDEMPOTENCY_KEY_INVALID, Code.INSUFFICIENT_FUNDS,
    Code.ACCOUNT_FROZEN, Code.RECEIVER_NOT_FOUND, Code.REQUEST_IN_PROGRESS,
    Code.IDEMPOTENCY_KEY_REUSE, Code.SAME_ACCOUNT, Code.RECEIVER_UNAVAILABLE,
    Code.CURRENCY_MISMATCH, Code.BALANCE_LIMIT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    `passes` tells the gate: a user with a token, a stranger (limits only), or free passage.
    `body` is read and checked before the gate, and where it is `body_optional` nothing stands for
    `{}`; `tier` names its further rate limit; `money` needs an idempotency key; `cached` may be
    answered from the cache.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, type[Struct] | None]
    passes: Passes = "user"
    body: type[Any] | None = None
    body_optional: bool = False
    parameters: Mapping[str, query_params.Parser | query_params.CursorCodec] = field(
        default_factory=dict
    )
    max_body_bytes: int = MAX_BODY_BYTES
    tier: Literal["auth"] | None = None
    money: bool = False
    cached: bool = False
    refusals: tuple[Code, ...] = ()


API: Final = "/api/v1"

ROUTES: Final = (
    Route("POST", f"{API}/auth/register", auth.register, "Register a user with an account",
          {201: responses.LoggedIn}, "stranger", requests.Register, tier="auth",
          refusals=(Code.EMAIL_TAKEN,)),
    Route("POST", f"{API}/auth/login", auth.login, "Log in",
          {200: responses.LoggedIn}, "stranger", requests.Login, tier="auth",
          refusals=(Code.INVALID_CREDENTIALS,)),
    Route("POST", f"{API}/auth/refresh", auth.refresh, "Get a new pair of tokens",
          {200: responses.Tokens}, "stranger", requests.Refresh,
          refusals=(Code.REFRESH_TOKEN_INVALID, Code.REFRESH_TOKEN_REUSED)),
    Route("POST", f"{API}/auth/logout", auth.logout, "End this session", {204: None}),
    Route("POST", f"{API}/auth/password", auth.change_password,
          "Change the password and end the other sessions", {204: None},
          body=requests.ChangePassword, refusals=(Code.INVALID_CREDENTIALS,)),
    Route("GET", f"{API}/auth/me", auth.me, "Who is logged in", {200: User}),
    Route("GET", f"{API}/accounts", accounts.account, "The account and its balance",
          {200: Account}, cached=True),
    Route("GET", f"{API}/accounts/entries", accounts.entries, "The account's ledger entries",
          {200: responses.EntryList}, refusals=(Code.CURSOR_INVALID,),
          parameters={"limit": query_params.limit, "cursor": query_params.ENTRIES, **_TIMES}),
    Route("POST", f"{API}/transactions", transactions.send, "Send money",
          {201: Transaction}, body=requests.Send, money=True, refusals=_TRANSFER_REFUSALS),
    Route("POST", f"{API}/transactions/batch", transfer_batches.send,
          "Send money many times at once",
          {200: responses.Batch, 201: responses.Batch}, body=requests.TransferBatchCreate, money=True,
          max_body_bytes=MAX_BATCH_BYTES, refusals=_TRANSFER_REFUSALS),
    Route("GET", f"{API}/transactions", transactions.history, "The history, newest first",
          {200: responses.TransactionList}, cached=True,
          parameters={"limit": query_params.limit, "cursor": query_params.TRANSACTIONS, **_FILTERS},
          refusals=(Code.CURSOR_INVALID,)),
    Route("GET", f"{API}/transactions/{{id}}", transactions.one, "One transaction",
          {200: Transaction}, refusals=(Code.NOT_FOUND,)),
    Route("GET", f"{API}/events", events.page, "What happened, newest first",
          {200: responses.EventList}, refusals=(Code.CURSOR_INVALID,),
          parameters={"limit": query_params.limit, "cursor": query_params.EVENTS,
                      "type": query_params.event_types,
                      "after_sequence": query_params.sequence, **_TIMES}),
    Route("GET", f"{API}/events/{{id}}", events.one, "One event", {200: Event},
          refusals=(Code.NOT_FOUND,)),
    Route("POST", f"{API}/webhook_endpoints", webhook_endpoints.create,
          "Be told of events", {201: webhook_endpoints.Endpoint},
          body=webhook_endpoints.NewEndpoint),
    Route("GET", f"{API}/webhook_endpoints", webhook_endpoints.page,
          "The webhook endpoints, newest first", {200: webhook_endpoints.EndpointList},
          parameters={"limit": query_params.limit, "cursor": query_params.ENDPOINTS},
          refusals=(Code.CURSOR_INVALID,)),
    Route("GET", f"{API}/webhook_endpoints/{{id}}", webhook_endpoints.one,
          "One webhook endpoint", {200: webhook_endpoints.Endpoint}, refusals=(Code.NOT_FOUND,)),
    Route("PATCH", f"{API}/webhook_endpoints/{{id}}", webhook_endpoints.change,
          "Change a webhook endpoint", {200: webhook_endpoints.Endpoint},
          body=webhook_endpoints.EndpointChange, refusals=(Code.NOT_FOUND,)),
    Route("DELETE", f"{API}/webhook_endpoints/{{id}}", webhook_endpoints.delete,
          "Delete a webhook endpoint", {204: None}, refusals=(Code.NOT_FOUND,)),
    Route("POST", f"{API}/webhook_endpoints/{{id}}/rotate_secret", webhook_endpoints.rotate_secret,
          "Replace the secret", {200: webhook_endpoints.Endpoint},
          body=webhook_endpoints.Rotation, body_optional=True, refusals=(Code.NOT_FOUND,)),
    Route("GET", f"{API}/webhook_endpoints/{{id}}/deliveries", deliveries.page,
          "The endpoint's deliveries, newest first", {200: deliveries.DeliveryList},
          parameters={"limit": query_params.limit, "cursor": query_params.DELIVERIES,
                      "status": deliveries.STATUS},
          refusals=(Code.CURSOR_INVALID, Code.NOT_FOUND)),
    Route("POST", f"{API}/webhook_endpoints/{{id}}/test", deliveries.ping,
          "Send a ping to the endpoint", {201: deliveries.Delivery},
          refusals=(Code.NOT_FOUND, Code.VALIDATION_FAILED)),
    Route("POST", f"{API}/webhook_endpoints/{{id}}/replay", deliveries.replay,
          "Send the events of a time once more", {200: deliveries.Replayed},
          body=deliveries.Replay, refusals=(Code.NOT_FOUND,)),
    Route("GET", f"{API}/deliveries/{{id}}", deliveries.one, "One delivery with its attempts",
          {200: deliveries.Delivery}, refusals=(Code.NOT_FOUND,)),
    Route("POST", f"{API}/deliveries/{{id}}/retry", deliveries.retry, "Send it once more",
          {200: deliveries.Delivery}, refusals=(Code.NOT_FOUND, Code.VALIDATION_FAILED)),
    Route("GET", f"{API}/health", service.health, "Whether money can move",
          {200: responses.Health, 503: responses.Health}, "free"),
    Route("GET", "/livez", service.livez, "Whether the process lives", {200: None}, "free"),
    Route("GET", "/readyz", service.readyz, "Whether to send requests here",
          {200: responses.Readiness, 503: responses.Readiness}, "free"),
    Route("GET", "/metrics", service.metrics, "Prometheus metrics", {200: None}, "free",
          refusals=(Code.UNAUTHENTICATED, Code.NOT_FOUND)),
    Route("GET", "/openapi.json", service.openapi, "This document", {200: None}, "free"),
    Route("GET", "/docs", service.docs, "The API, to read and to try", {200: None}, "free"),
    Route("GET", "/docs/assets/{id}", service.asset, "A file of the docs page", {200: None}, "free",
          refusals=(Code.NOT_FOUND,)),
    Route("GET", "/docs/errors", service.errors, "All errors", {200: None}, "free"),
    Route("GET", "/docs/errors/{id}", service.error, "One error, explained", {200: None}, "free",
          refusals=(Code.NOT_FOUND,)),
)  # fmt: skip

Methods = Mapping[str, Route]
_BY_PATH: Final[dict[str, dict[str, Route]]] = {}
for _route in ROUTES:
    _BY_PATH.setdefault(_route.path, {})[_route.method] = _route


def find(path: str) -> tuple[Methods, str]:
    """The methods of a path, and the id in it where it has one. 404 if there are none."""
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    methods = _BY_PATH.get(path)
    if methods is not None and "{" not in path:
        return methods, ""
    # The id is the last segment, or the last but one: /transactions/{id}, /deliveries/{id}/retry.
    parent, _, last = path.rpartition("/")
    methods = _BY_PATH.get(f"{parent}/{{id}}")
    if methods is not None and last:
        return methods, last
    grandparent, _, middle = parent.rpartition("/")
    methods = _BY_PATH.get(f"{grandparent}/{{id}}/{last}")
    if methods is not None and middle:
        return methods, middle
    raise FinPayError(
        Code.NOT_FOUND, f"There is no such path. {API} and its routes are listed at /docs."
    )


def choose(methods: Methods, method: str) -> Route:
    """The route of a method; HEAD goes where GET goes. 405 with Allow otherwise."""
    route = methods.get("GET" if method == "HEAD" else method)
    if route is None:
        raise FinPayError(
            Code.METHOD_NOT_ALLOWED,
            f"This path knows {allowed(methods)}.",
            headers={"Allow": allowed(methods)},
        )
    return route


def body_limit(method: str, path: str) -> int:
    """How many bytes of a body are read, before anything else is known of the request."""
    try:
        route = find(path)[0].get(method)
    except FinPayError:
        route = None
    return MAX_BODY_BYTES if route is None else route.max_body_bytes


def allowed(methods: Methods) -> str:
    names = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    return ", ".join(sorted(names))
