"""The order of work around every handler, in one place.

find the route (404, 405) → wait while some are refused → token (401) → body, read and checked but
not yet judged → gate: session (401), limits (429) → what was wrong with the body (413, 415, 400,
422) → key (409, 422, replay) → cache → handler → settle → answer. A test holds each pair of this
order.
"""

import secrets
import time
from itertools import count
from typing import Final

from finpay.concurrency.deadlines import Deadlines
from finpay.db.pool import Unavailable
from finpay.edge import routes
from finpay.edge.access_log import AccessLog, RequestRecord
from finpay.edge.handlers import transactions
from finpay.edge.load_shedding import LoadShedder
from finpay.edge.pacer import Pacer
from finpay.edge.request import query_params
from finpay.edge.request.client_ip import ClientIp
from finpay.edge.request.model import Context, Request, Response
from finpay.edge.request.parse import ParsedRequest, parse
from finpay.edge.request.rate_limits import Tiers
from finpay.edge.response_encoder import ResponseEncoder
from finpay.edge.routes import Route
from finpay.edge.schemas import problems
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError, unavailable
from finpay.gate.decision import Decision
from finpay.gate.gate import Admission, Completion, Mode
from finpay.identity.access_tokens import Principal
from finpay.telemetry import logs

# A fifth of a second of work of one process. Who would wait longer is better told at once: what
# that costs is in docs/performance.md.
MAX_UNDER_WAY: Final = 320
# From its last byte to its answer; load balancers wait 30 or 60. Each wait has a deadline of its
# own (90 ms for Redis, 4 s for a statement, 4.5 s for a transfer), but some requests have several.
REQUEST_LIMIT_S: Final = 10.0

_REFUSABLE: Final = f"{routes.API}/"
_HEALTH: Final = f"{routes.API}/health"  # never limited in any way
_LOG: Final = logs.get()


class Pipeline:
    """The way of every request. `services` are ready when the first request comes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        # Tokens of requests need to be unique, not secret: a name for the process, and a number.
        self._name = f"{secrets.token_hex(8)}."
        self._numbers = count()
        self._addresses = ClientIp(services.settings.trusted_proxies)
        self._tiers = Tiers(services.settings)
        self._answering = ResponseEncoder(services)
        self._deadlines = Deadlines(REQUEST_LIMIT_S, _late)
        self._notes = AccessLog()
        self._refusals = LoadShedder(self._answering, self._notes)
        self._turnstile = Pacer()
        self._under_way = 0

    async def respond(self, request: Request) -> bytes:
        """The whole answer, whatever happens on the way, for one that `refuse` let in."""
        started = time.perf_counter()
        request.address = self._addresses.of(request.peer, request.header(b"x-forwarded-for"))
        trail = RequestRecord()
        try:
            reply = await self._deadlines.hold(self._reply(request, trail))
        except FinPayError as error:
            reply = problems.reply(error, request.id)
            reply.budgets = trail.budgets
        except Exception:  # noqa: BLE001  whatever it was, the client gets an answer
            _LOG.exception("bug", request_id=request.id, route=trail.template)
            reply = problems.reply(_bug(), request.id)
            reply.budgets = trail.budgets
        finally:
            self._under_way -= 1
        answer = self._answering.encode(reply, request)
        self._notes.take(trail, request, reply, time.perf_counter() - started)
        return answer

    def refuse(self, request: Request) -> bytes | None:
        """503 before anything was looked at, where more is under way than can be done in time.

        None: it is under way from now on, as many may come in one turn of the loop.
        """
        path = request.path
        if (
            self._under_way < MAX_UNDER_WAY
            or path.startswith(_HEALTH)
            or not path.startswith(_REFUSABLE)
        ):
            self._under_way += 1
            return None
        self._turnstile.refused()
        return self._refusals.of(request)

    def refuse_unread(self, data: bytes) -> bytes | None:
        """As `refuse`, for bytes that nobody has read. None: they have to be."""
        if self._under_way < MAX_UNDER_WAY:
            return None
        refusal = self._refusals.unread(data)
        if refusal is not None:
            self._turnstile.refused()
        return refusal

    async def _reply(self, request: Request, trail: RequestRecord) -> Response:
        methods, path_id = routes.find(request.path)
        trail.template = next(iter(methods.values())).path
        if request.method == "OPTIONS":
            return Response(204, content_type=None, headers={"Allow": routes.allowed(methods)})
        route = routes.choose(methods, request.method)
        if route.passes == "free":
            call = Context(request.id, request.address, path_id=path_id, bearer=request.bearer)
            return await route.handler(self._services, call)
        await self._turnstile.pass_through()
        if route.passes == "stranger":
            return await self._stranger(request, route, trail)
        return await self._user(request, route, path_id, trail)

    async def _stranger(self, request: Request, route: Route, trail: RequestRecord) -> Response:
        draft = parse(request, route)
        email = draft.command.email if route.tier and draft.command else None
        tiers = self._tiers.for_anonymous(request.address, route.tier, email)
        verdict = await self._services.gate.admit_anonymous(tiers)
        trail.judge(verdict)
        draft.raise_fault()
        reply = await route.handler(
            self._services, Context(request.id, request.address, command=draft.command)
        )
        if email is not None and reply.status == 200:
            # A login proves its owner: what strangers tried on this e-mail is forgotten.
            await self._services.gate.clear(tiers, "auth_email")
        reply.budgets = verdict.budgets
        return reply

    async def _user(
        self, request: Request, route: Route, path_id: str, trail: RequestRecord
    ) -> Response:
        principal = self._services.identity.signer.verify(_bearer(request), time.time())
        trail.user = principal.user
        draft = parse(request, route, principal.account_id, self._tiers.max_transfers)
        passage = self._passage(principal, route, draft)
        verdict = await self._services.gate.admit(passage)
        trail.judge(verdict)
        draft.raise_fault()
        call = Context(
            request.id,
            request.address,
            path=route.path,
            principal=principal,
            command=draft.command,
            parameters=draft.parameters,
            query=draft.query,
            path_id=path_id,
            key=draft.key,
            fingerprint=draft.fingerprint,
        )
        reply = await self._answer(route, call, passage, verdict)
        reply.budgets = verdict.budgets
        return reply

    def _passage(self, principal: Principal, route: Route, draft: ParsedRequest) -> Admission:
        mode: Mode = "count"
        variant = ""
        if draft.fault is None and route.money:
            mode = "key"
        elif draft.fault is None and route.cached and "cursor" not in draft.query:
            mode = "read"
            variant = f"{route.path}?{query_params.canonical(draft.query)}"
        return Admission(
            user=principal.user,
            session=principal.session,
            session_id=principal.session_id,
            user_id=principal.user_id,
            mode=mode,
            tiers=self._tiers.for_user(
                principal.user, money=route.money, transfers=draft.transfers
            ),
            token=f"{self._name}{next(self._numbers)}",
            key=draft.key,
            fingerprint=draft.fingerprint,
            variant=variant,
        )

    async def _answer(
        self, route: Route, call: Context, passage: Admission, verdict: Decision
    ) -> Response:
        if verdict.kind == "hit":
            link, _, body = verdict.payload.partition(b"\n")
            return Response(200, body, headers={"Link": link.decode()} if link else {})
        if verdict.kind == "replayed":
            return transactions.stored_reply(int(verdict.payload[:3]), verdict.payload[3:])
        if verdict.kind == "reuse":
            raise transactions.key_reused()
        if verdict.kind == "in_progress":
            raise _in_progress()
        if passage.mode == "key":
            return await self._write(route, call, passage)
        if self._services.probe.read_only:
            raise unavailable("The database takes no writes now, and may be behind. Try again.")
        reply = await route.handler(self._services, call)
        if verdict.generation is not None and reply.sequence is not None:
            payload = reply.headers.get("Link", "").encode() + b"\n" + reply.body
            await self._services.gate.fill(passage, verdict.generation, reply.sequence, payload)
        return reply

    async def _write(self, route: Route, call: Context, passage: Admission) -> Response:
        """A money POST: whatever becomes of it, its claim and its mark are settled."""
        settlement = Completion(known=False)
        try:
            reply = await route.handler(self._services, call)
            settlement = reply.settlement or settlement
        except FinPayError as error:
            may_have_run = isinstance(error, Unavailable) and error.may_have_run
            settlement = Completion(known=not may_have_run)
            raise
        finally:
            await self._services.gate.settle(passage, settlement)
        return reply


def _bearer(request: Request) -> str:
    """The token of the Authorization header. 401 if there is none."""
    token = request.bearer
    if not token:
        raise FinPayError(
            Code.UNAUTHENTICATED,
            "Log in, and send the access token as Authorization: Bearer ….",
            headers={"WWW-Authenticate": 'Bearer realm="finpay"'},
        )
    return token


def _in_progress() -> FinPayError:
    return FinPayError(
        Code.REQUEST_IN_PROGRESS,
        "The first request with this key is still being worked on. Ask again in a second.",
        headers={"Retry-After": "1"},
    )


def _late() -> FinPayError:
    return unavailable(
        "This took too long, so what became of it is not known. Try again, with the same "
        "idempotency key if it has one."
    )


def _bug() -> FinPayError:
    return FinPayError(
        Code.INTERNAL_ERROR,
        "This is our fault and was logged under the request_id. Try again with the same key.",
    )
