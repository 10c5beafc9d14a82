"""The order of work around every handler, in one place.

Each wait has a limit of its own: 90 ms for Redis, 4 s for a statement, 4.5 s for a transfer, 15 s
for a body.

find the route (404, 405) → token or API key (401) → query and body, read and checked → gate:
session (401), limits (429) → scope of the API key (403) → the error of the body, if it has one
(413, 415, 400, 422) → key (409, 422, replay) → cache → handler → complete. A test holds each
pair of this order.
"""

import asyncio
import secrets
import time
from itertools import count
from typing import Final

import msgspec

from finpay.concurrency.shares import Shares
from finpay.db.pool import Unavailable
from finpay.edge.access_log import RequestRecord
from finpay.edge.authentication import Authenticator, authorise, is_operating, raise_for
from finpay.edge.handlers import transactions
from finpay.edge.handlers.operator_actions import no_operators
from finpay.edge.load_limits import MAX_LARGE_BODIES, MAX_LARGE_BODIES_PER_USER, InFlight
from finpay.edge.parse import ClientDisconnected, ParsedRequest, parse
from finpay.edge.rate_limiting import RecentRefusals, rate_limited
from finpay.edge.request import query_params
from finpay.edge.request.client_ip import ClientIp
from finpay.edge.request.model import Context, Request
from finpay.edge.response import Response
from finpay.edge.router import MAX_BODY_BYTES, Route, Router, allowed, choose
from finpay.edge.routes import DEV_ROUTES, ROUTES
from finpay.edge.schemas import problems
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError, overloaded, unavailable
from finpay.gate.gate import Admission, Completion, Decision, Mode
from finpay.gate.rate_limits import Tier, Tiers, exhausted
from finpay.identity.access_tokens import Principal
from finpay.telemetry import logs

MAX_SMALL_BODY_BYTES: Final = 2_048  # read before the limits: longer than any valid login
WAIT_S: Final = 2.0  # of a request for the response to the first one with the same key
MIN_POLL_S: Final = 0.01
MAX_POLL_S: Final = 0.2
_NO_KEY: Final = "change "  # before the token of a write without a key; no key has a space
MAX_WAITING: Final = 64  # per process; further copies are 409 at once

_LOG: Final = logs.get()


class Pipeline:
    """One per process. `handle` never raises but for a client that has disconnected."""

    def __init__(self, services: Services, in_flight: InFlight) -> None:
        self._services = services
        self._in_flight = in_flight
        self._waiting = 0
        dev_routes = () if services.settings.production else DEV_ROUTES
        self._router = Router((*ROUTES, *dev_routes))
        self._client_ip = ClientIp(services.settings.trusted_proxies)
        self._tiers = Tiers(services.settings)
        self._authenticator = Authenticator(services, self._tiers)
        self._refusals = RecentRefusals()
        self._large_bodies = Shares(MAX_LARGE_BODIES, MAX_LARGE_BODIES_PER_USER)
        self._second_factor = services.settings.env != "development"
        # Tokens of requests have to be unique, not secret: a prefix of the process and a number.
        self._claim_prefix = f"{secrets.token_hex(8)}."
        self._claim_counter = count()

    async def handle(self, request: Request, record: RequestRecord) -> Response:
        """The response to a request, whatever happens."""
        request.client_ip = self._client_ip.resolve(
            request.peer, request.header(b"x-forwarded-for")
        )
        try:
            response = await self._respond(request, record)
        except FinPayError as error:
            response = problems.response(error, request.id)
        except ClientDisconnected:
            raise
        except Exception:  # noqa: BLE001  the client gets a response in any case
            _LOG.exception("unhandled_exception", request_id=request.id, route=record.route)
            response = problems.response(_internal_error(), request.id)
        response.limits = response.limits or record.limits
        return response

    async def _respond(self, request: Request, record: RequestRecord) -> Response:
        methods, path_id = self._router.find(request.path)
        record.route = next(iter(methods.values())).path
        if request.method == "OPTIONS":
            return Response(204, content_type=None, headers={"Allow": allowed(methods)})
        route = choose(methods, request.method)
        if route.operates and self._services.operators is None:
            raise no_operators()
        if route.access == "authenticated":
            return await self._authenticated(request, route, path_id, record)
        if route.access == "anonymous":
            return await self._anonymous(request, route, record)
        if route.access == "page":
            tiers = self._tiers.for_page(request.client_ip)
            record.decision = await self._services.gate.admit_anonymous(tiers)
            raise_for(record.decision)
        context = Context(
            request.id,
            request.client_ip,
            path_id=path_id,
            bearer=request.bearer,
            is_local=route.access == "page" and request.is_local,
        )
        return await route.handler(self._services, context)

    async def _anonymous(self, request: Request, route: Route, record: RequestRecord) -> Response:
        gate = self._services.gate
        if request.leaves_unread(MAX_SMALL_BODY_BYTES):
            # A refusal must not cost the time to read a large body.
            tiers = self._tiers.for_anonymous(request.client_ip, route.tier, None)
            record.decision = await gate.peek(tiers)
            raise_for(record.decision)
        with self._in_flight:
            parsed = await parse(request, route)
        email = getattr(parsed.command, "email", None)
        tiers = self._tiers.for_anonymous(request.client_ip, route.tier, email)
        record.decision = await gate.admit_anonymous(tiers)
        raise_for(record.decision)
        parsed.raise_error()
        response = await route.handler(
            self._services,
            Context(request.id, request.client_ip, request.user_agent, command=parsed.command),
        )
        if route.tier == "login" and response.status == 200:
            await gate.forget_failed_logins(tiers)
        return response

    async def _authenticated(
        self, request: Request, route: Route, path_id: str, record: RequestRecord
    ) -> Response:
        principal = await self._authenticator.principal(request, record)
        record.principal = principal
        parsed = await self._parse(request, principal, route, path_id)
        dry_run = bool(parsed.parameters.get("dry_run"))
        refusal = authorise(principal, route, second_factor=self._second_factor, dry_run=dry_run)
        if refusal is not None:
            parsed = ParsedRequest(error=refusal)
        admission = self._admission(principal, route, parsed)
        record.decision = decision = await self._services.gate.admit(admission)
        if decision.kind == "in_progress":
            record.decision = decision = await self._wait(admission, decision)
        if decision.kind == "limited":
            self._refusals.add(principal.session, exhausted(decision.limits))
        raise_for(decision)
        parsed.raise_error()
        context = Context(
            request.id,
            request.client_ip,
            path=route.path,
            principal=principal,
            command=parsed.command,
            parameters=parsed.parameters,
            query=parsed.query,
            path_id=path_id,
            key=parsed.key,
            fingerprint=parsed.fingerprint,
            accept=request.header(b"accept") or "",
            limits=decision.limits,
        )
        if decision.kind == "admitted":
            return await self._admitted(route, context, admission, decision)
        return _without_handler(decision)

    async def _parse(
        self, request: Request, principal: Principal, route: Route, path_id: str
    ) -> ParsedRequest:
        """The request; the refusal of one whose large body need not be read for it."""
        if principal.session in self._refusals and request.leaves_unread(MAX_SMALL_BODY_BYTES):
            seen = await self._services.gate.peek(self._tiers_of(principal, route, 1))
            if seen.kind == "limited":
                return ParsedRequest(error=rate_limited(exhausted(seen.limits)))
        if route.max_body_bytes <= MAX_BODY_BYTES or not request.leaves_unread(MAX_BODY_BYTES):
            return await self._read(request, principal, route, path_id)
        with self._large_bodies.share(principal.user) as granted:
            if not granted:
                raise overloaded("Too many large bodies are being received. Retry in a second.")
            return await self._read(request, principal, route, path_id)

    async def _read(
        self, request: Request, principal: Principal, route: Route, path_id: str
    ) -> ParsedRequest:
        max_transfers = self._tiers.max_transfers(api_key=principal.scopes is not None)
        with self._in_flight:
            return await parse(request, route, principal.account_id, max_transfers, path_id)

    async def _wait(self, admission: Admission, decision: Decision) -> Decision:
        """The decision once the first request with the key has its response, or after WAIT_S.

        Copies of a request that arrive together all get its response. They don't count again.
        """
        if self._waiting >= MAX_WAITING:
            return decision
        uncounted = msgspec.structs.replace(admission, tiers=())
        until_s = time.monotonic() + WAIT_S
        pause_s = MIN_POLL_S
        later = decision
        self._waiting += 1
        self._in_flight.count -= 1
        try:
            while later.kind == "in_progress" and time.monotonic() < until_s:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_POLL_S)
                later = await self._services.gate.admit(uncounted)
        finally:
            self._waiting -= 1
            self._in_flight.count += 1
        return msgspec.structs.replace(later, limits=decision.limits)

    def _admission(self, principal: Principal, route: Route, parsed: ParsedRequest) -> Admission:
        mode: Mode = "count_only"
        variant = ""
        token = f"{self._claim_prefix}{next(self._claim_counter)}"
        if parsed.error is None and (parsed.key or route.marks_cache):
            mode = "idempotent_write"
        elif parsed.error is None and route.cached and "cursor" not in parsed.query:
            mode = "cached_read"
            variant = f"{route.path}?{query_params.canonical(parsed.query)}"
        return Admission(
            user=principal.user,
            session=principal.session,
            session_id=principal.session_id,
            user_id=principal.user_id,
            generation=principal.generation,
            mode=mode,
            tiers=self._tiers_of(principal, route, parsed.transfers),
            token=token,
            key=parsed.key or f"{_NO_KEY}{token}",
            fingerprint=parsed.fingerprint,
            variant=variant,
        )

    def _tiers_of(self, principal: Principal, route: Route, transfers: int) -> list[Tier]:
        if is_operating(principal, route):
            return self._tiers.for_operator(principal.user)
        money = (route.needs_key and route.counts_transfers) or route.in_transaction_tier
        return self._tiers.for_principal(principal, money=money, transfers=transfers)

    async def _admitted(
        self, route: Route, context: Context, admission: Admission, decision: Decision
    ) -> Response:
        if admission.mode == "idempotent_write":
            return await self._write(route, context, admission)
        if self._services.health.read_only:
            raise unavailable("The database is read-only now and may be stale. Try again.")
        response = await route.handler(self._services, context)
        if decision.generation is not None and response.sequence is not None:
            payload = response.headers.get("Link", "").encode() + b"\n" + response.body
            await self._services.gate.store_read(
                admission, decision.generation, response.sequence, payload
            )
        return response

    async def _write(self, route: Route, context: Context, admission: Admission) -> Response:
        """A write: its claim and its write marker are completed whatever happens."""
        completion = Completion(outcome_known=False)
        try:
            response = await route.handler(self._services, context)
            completion = response.completion or completion
        except FinPayError as error:
            may_have_run = isinstance(error, Unavailable) and error.may_have_run
            completion = Completion(outcome_known=not may_have_run)
            raise
        finally:
            await self._services.gate.complete(admission, completion)
        return response


def _without_handler(decision: Decision) -> Response:
    """The response that the gate has: of the cache, of an earlier request, or a refusal."""
    if decision.kind == "cache_hit":
        link, _, body = decision.payload.partition(b"\n")
        return Response(200, body, headers={"Link": link.decode()} if link else {})
    if decision.kind == "replayed":
        return transactions.stored_response(int(decision.payload[:3]), decision.payload[3:])
    if decision.kind == "key_reused":
        raise transactions.key_reused()
    raise FinPayError(
        Code.REQUEST_IN_PROGRESS,
        "The first request with this key is still in progress. Try again in a second.",
        headers={"Retry-After": "1"},
    )


def _internal_error() -> FinPayError:
    return FinPayError(
        Code.INTERNAL_ERROR,
        "The error was logged under the request_id. Try again, with the same idempotency key.",
    )
