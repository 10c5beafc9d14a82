"""Finds the route of a path and a method, or refuses with 404 or 405."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec import Struct

from finpay.edge.request.model import Context
from finpay.edge.request.query_params import Parameters
from finpay.edge.response import Response
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.identity.access_tokens import Role
from finpay.identity.api_keys import Scope
from finpay.ids import Prefix

API: Final = "/api/v1"
MAX_BODY_BYTES: Final = 64 * 1024  # far above every schema but that of a transfer batch
MAX_BODY_VALUES: Final = 25_000
INTERNAL: Final = frozenset({"/livez", "/metrics", "/readyz"})  # a proxy may publish none of them

Access = Literal["authenticated", "anonymous", "page", "unlimited"]
Handler = Callable[[Services, Context], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `responses`, `files` and `errors` are for OpenAPI."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    handler: Handler
    operation_id: str
    summary: str
    responses: Mapping[int, type[Struct] | None]
    # `anonymous` and `page` have rate limits only, `unlimited` has not even these.
    access: Access = "authenticated"
    body: type[Any] | None = None  # read and checked before the gate
    body_optional: bool = False  # no body equals {}
    parameters: Parameters = field(default_factory=dict)
    max_body_bytes: int = MAX_BODY_BYTES
    max_body_values: int = MAX_BODY_VALUES
    tier: Literal["auth", "login"] | None = None  # a further rate limit
    needs_key: bool = False  # it changes money, under an idempotency key
    accepts_key: bool = False  # an idempotency key is allowed, and not needed
    in_transaction_tier: bool = False  # counts in the transaction tier although it needs no key
    counts_transfers: bool = True  # false: it needs a key and does not count there
    id_prefix: Prefix | None = None  # a malformed id in the path is refused before the key
    cached: bool = False  # may be answered from the cache
    marks_cache: bool = False  # changes what is cached, without a key
    roles: tuple[Role, ...] = ()  # of users who may; none: all may
    operates: bool = False  # needs the database of operators, and is unknown without one
    files: Mapping[str, str] = field(default_factory=dict)  # further media types of 200
    scope: Scope | Literal["any"] | None = None  # that an API key needs; None: no key will do
    errors: tuple[Code, ...] = ()


Methods = Mapping[str, Route]


class Router:
    """Finds the route of a request in one look-up."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._by_path.setdefault(route.path, {})[route.method] = route

    def find(self, path: str) -> tuple[Methods, str]:
        """The methods of a path, and the id in it where it has one. 404 if there are none.

        A slash at the end is ignored, but for INTERNAL paths. No path has a character that needs
        an escape, so none with an escape is known.
        """
        if len(path) > 1 and path.endswith("/") and path[:-1] not in INTERNAL:
            path = path[:-1]
        methods = self._by_path.get(path)
        if methods is not None and "{" not in path:
            return methods, ""
        # The id is the last segment or the one before it: /deliveries/{id}, /deliveries/{id}/retry.
        parent, _, last = path.rpartition("/")
        methods = self._by_path.get(f"{parent}/{{id}}")
        if methods is not None and last and "%" not in last:
            return methods, last
        grandparent, _, middle = parent.rpartition("/")
        methods = self._by_path.get(f"{grandparent}/{{id}}/{last}")
        if methods is not None and middle and "%" not in middle:
            return methods, middle
        raise FinPayError(Code.NOT_FOUND, f"Unknown path. The routes of {API} are listed at /docs.")


def choose(methods: Methods, method: str) -> Route:
    """The route of a method; HEAD uses that of GET. 405 with Allow otherwise."""
    route = methods.get("GET" if method == "HEAD" else method)
    if route is None:
        raise FinPayError(
            Code.METHOD_NOT_ALLOWED,
            f"Allowed: {allowed(methods)}.",
            headers={"Allow": allowed(methods)},
        )
    return route


def allowed(methods: Methods) -> str:
    """The value of the Allow header."""
    names = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    return ", ".join(sorted(names))
