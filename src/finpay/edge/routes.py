"""The whole public surface on one screen."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec import Struct

from finpay.edge import accounts, auth, lists, pages, replies, requests, transactions
from finpay.edge.request import Call, Reply
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError

Handler = Callable[[Services, Call], Awaitable[Reply]]
Passes = Literal["user", "stranger", "free"]

_DIRECTION: Final = lists.one_of("sent", "received")
_STATUS: Final = lists.one_of("pending", "completed", "failed", "reversed")
_TIMES: Final[Mapping[str, lists.Parser]] = {
    "created_from": lists.time,
    "created_to": lists.time,
}
_FILTERS: Final[Mapping[str, lists.Parser]] = {
    "direction": _DIRECTION,
    "status": _STATUS,
    **_TIMES,
    "amount_min": lists.amount,
    "amount_max": lists.amount,
    "counterparty_id": lists.account_id,
    "idempotency_key": lists.idempotency_key,
}


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    `passes` tells the gate: a user with a token, a stranger (limits only), or free passage.
    `body` is read and checked before the gate; `tier` names its further rate limit; `money` needs
    an idempotency key; `cached` may be answered from the cache.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, type[Struct] | None]
    passes: Passes = "user"
    body: type[Any] | None = None
    parameters: Mapping[str, lists.Parser | lists.Cursors] = field(default_factory=dict)
    tier: Literal["auth"] | None = None
    money: bool = False
    cached: bool = False
    refusals: tuple[Code, ...] = ()


API: Final = "/api/v1"

ROUTES: Final = (
    Route("POST", f"{API}/auth/register", auth.register, "Register a user with an account",
          {201: replies.LoggedIn}, "stranger", requests.Register, tier="auth",
          refusals=(Code.EMAIL_TAKEN,)),
    Route("POST", f"{API}/auth/login", auth.login, "Log in",
          {200: replies.LoggedIn}, "stranger", requests.Login, tier="auth",
          refusals=(Code.INVALID_CREDENTIALS,)),
    Route("POST", f"{API}/auth/refresh", auth.refresh, "Get a new pair of tokens",
          {200: replies.Tokens}, "stranger", requests.Refresh,
          refusals=(Code.REFRESH_TOKEN_INVALID, Code.REFRESH_TOKEN_REUSED)),
    Route("POST", f"{API}/auth/logout", auth.logout, "End this session", {204: None}),
    Route("POST", f"{API}/auth/password", auth.change_password,
          "Change the password and end the other sessions", {204: None},
          body=requests.ChangePassword, refusals=(Code.INVALID_CREDENTIALS,)),
    Route("GET", f"{API}/auth/me", auth.me, "Who is logged in", {200: replies.User}),
    Route("GET", f"{API}/accounts", accounts.account, "The account and its balance",
          {200: replies.Account}, cached=True),
    Route("GET", f"{API}/accounts/entries", accounts.entries, "The account's ledger entries",
          {200: replies.EntryList}, refusals=(Code.CURSOR_INVALID,),
          parameters={"limit": lists.limit, "cursor": lists.ENTRIES, **_TIMES}),
    Route("POST", f"{API}/transactions", transactions.send, "Send money",
          {201: replies.Transaction}, body=requests.Send, money=True,
          refusals=(Code.IDEMPOTENCY_KEY_MISSING, Code.IDEMPOTENCY_KEY_INVALID,
                    Code.INSUFFICIENT_FUNDS, Code.ACCOUNT_FROZEN, Code.RECEIVER_NOT_FOUND,
                    Code.REQUEST_IN_PROGRESS, Code.IDEMPOTENCY_KEY_REUSE, Code.SAME_ACCOUNT,
                    Code.RECEIVER_UNAVAILABLE, Code.CURRENCY_MISMATCH, Code.BALANCE_LIMIT)),
    Route("GET", f"{API}/transactions", transactions.history, "The history, newest first",
          {200: replies.TransactionList}, cached=True,
          parameters={"limit": lists.limit, "cursor": lists.TRANSACTIONS, **_FILTERS},
          refusals=(Code.CURSOR_INVALID,)),
    Route("GET", f"{API}/transactions/{{id}}", transactions.one, "One transaction",
          {200: replies.Transaction}, refusals=(Code.NOT_FOUND,)),
    Route("GET", f"{API}/health", pages.health, "Whether money can move",
          {200: replies.Health, 503: replies.Health}, "free"),
    Route("GET", "/livez", pages.livez, "Whether the process lives", {200: None}, "free"),
    Route("GET", "/readyz", pages.readyz, "Whether to send requests here",
          {200: replies.Readiness, 503: replies.Readiness}, "free"),
    Route("GET", "/metrics", pages.metrics, "Prometheus metrics", {200: None}, "free",
          refusals=(Code.UNAUTHENTICATED, Code.NOT_FOUND)),
    Route("GET", "/openapi.json", pages.openapi, "This document", {200: None}, "free"),
    Route("GET", "/docs", pages.docs, "The API, to read and to try", {200: None}, "free"),
    Route("GET", "/docs/assets/{id}", pages.asset, "A file of the docs page", {200: None}, "free",
          refusals=(Code.NOT_FOUND,)),
    Route("GET", "/docs/errors", pages.errors, "All errors", {200: None}, "free"),
    Route("GET", "/docs/errors/{id}", pages.error, "One error, explained", {200: None}, "free",
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


def allowed(methods: Methods) -> str:
    names = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    return ", ".join(sorted(names))
