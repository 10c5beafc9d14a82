"""The ASGI 3 application: from the scope of a request to the messages of its response."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final

from finpay.concurrency.shares import Shares
from finpay.edge.access_log import AccessLog, RequestRecord
from finpay.edge.health_monitor import HealthMonitor
from finpay.edge.load_limits import MAX_IN_FLIGHT, OVERLOADED, InFlight
from finpay.edge.load_shedding import STATE, LoadShedder, is_sheddable
from finpay.edge.parse import ClientDisconnected
from finpay.edge.pipeline import Pipeline
from finpay.edge.request.model import Message, Receive, Request, Send
from finpay.edge.response import HeaderWriter, Response
from finpay.edge.schemas import problems
from finpay.edge.services import Services
from finpay.edge.streaming import MAX_STREAMS, MAX_STREAMS_PER_USER, send_stream
from finpay.edge.whole_response import SendWhole, take
from finpay.errors import overloaded
from finpay.telemetry import logs

Handle = Callable[[Request, RequestRecord], Awaitable[Response]]

MAX_IGNORED_BODY_BYTES: Final = 64 * 1024  # unread, it leaves the connection open


class Application:
    """Hosted by any ASGI server. `open_services` builds the parts at the start of the lifespan.

    `instrument` may wrap the pipeline's `handle` with spans.
    """

    def __init__(
        self,
        open_services: Callable[[], AbstractAsyncContextManager[Services]],
        instrument: Callable[[Handle], Handle] = lambda handle: handle,
    ) -> None:
        self._open_services = open_services
        self._instrument = instrument
        self._in_flight = InFlight()
        self._streams = Shares(MAX_STREAMS, MAX_STREAMS_PER_USER)
        self._health: HealthMonitor | None = None

    def drain(self) -> None:
        """Before a stop: /readyz answers 503, and each response closes its connection."""
        if self._health is not None:
            self._health.draining = True

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(Request(scope, receive), send, take(scope))
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            raise ValueError(f"the scope {scope['type']} is not supported")

    async def _http(self, request: Request, send: Send, send_whole: SendWhole | None) -> None:
        started_s = time.perf_counter()
        record = RequestRecord()
        if self._in_flight.count >= MAX_IN_FLIGHT and is_sheddable(request.path):
            response = problems.response(
                overloaded(OVERLOADED),
                request.id,
            )
        else:
            self._in_flight.count += 1
            try:
                response = await self._handle(request, record)
            except ClientDisconnected:
                return
            finally:
                self._in_flight.count -= 1
        if response.stream is not None and request.method != "HEAD":
            response = await self._stream(response, request, record, send)
        elif send_whole is None or not self._sent_whole(response, request, send_whole):
            await self._send(response, request, send)
        self._access_log.record(record, request, response, time.perf_counter() - started_s)

    async def _stream(
        self, response: Response, request: Request, record: RequestRecord, send: Send
    ) -> Response:
        """The response that was sent: 503 beyond the user's share."""
        user = "" if record.principal is None else record.principal.user
        with self._streams.share(user) as granted:
            if granted:
                await self._send_head(response, request, send)
                await send_stream(response, request, record.route, send)
                return response
        assert response.stream is not None  # noqa: S101  the caller looked
        await response.stream.aclose()
        refusal = problems.response(
            overloaded(
                "Too many statements and exports are being sent. Finish reading one of yours first."
            ),
            request.id,
        )
        refusal.limits = response.limits
        await self._send(refusal, request, send)
        return refusal

    def _sent_whole(self, response: Response, request: Request, send_whole: SendWhole) -> bool:
        """Whether it was: not where the connection has to be closed behind it."""
        if self._closes(request):
            return False
        body = b"" if request.method == "HEAD" else response.body
        return send_whole(self._headers.head(response, request), body)

    async def _send(self, response: Response, request: Request, send: Send) -> None:
        await self._send_head(response, request, send)
        body = b"" if request.method == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body})

    async def _send_head(self, response: Response, request: Request, send: Send) -> None:
        headers = self._headers.fields(response, request)
        if self._closes(request):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})

    def _closes(self, request: Request) -> bool:
        """Whether the response closes the connection: before a stop, or with a body unread."""
        draining = self._health is not None and self._health.draining
        return draining or request.leaves_unread(MAX_IGNORED_BODY_BYTES)

    async def _lifespan(self, scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                services = await stack.enter_async_context(self._open_services())
            except Exception as error:  # noqa: BLE001  the server gets the reason
                logs.get().error("startup_failed", reason=repr(error))
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            self._start(services, scope)
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def _start(self, services: Services, scope: Message) -> None:
        self._handle = self._instrument(Pipeline(services, self._in_flight).handle)
        self._headers = HeaderWriter(services.settings.cors_origins)
        self._access_log = AccessLog(services.request_log)
        self._health = services.health
        if "state" in scope:  # optional in ASGI
            scope["state"][STATE] = LoadShedder(
                self._in_flight, self._headers, self._access_log, services.health
            )
