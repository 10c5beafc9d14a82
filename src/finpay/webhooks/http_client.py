"""POSTs to receivers over aiohttp: connections go only to addresses that the SSRF policy allows.

aiohttp parses the response. No redirect is followed, nothing is decompressed, no cookie is kept
and no proxy of the environment is used. A receiver can make this process read MAX_RESPONSE_BYTES.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from finpay.webhooks.messages import Error
from finpay.webhooks.response_guard import GuardedRequest
from finpay.webhooks.ssrf import url_policy
from finpay.webhooks.ssrf.name_resolver import DnsLookupFailed, NameResolver
from finpay.webhooks.ssrf.url_policy import Target, UrlPolicy

MAX_CONNECTIONS: Final = 512  # in use at once: as many as a worker has attempts in flight
IDLE_LIMIT_S: Final = 4.0  # common servers close idle connections after 5 s
SESSION_AGE_S: Final = 60.0  # then connections are made anew: the addresses of names change
MAX_SESSIONS: Final = 4  # the fifth closes the first, whose last attempt ended 60 s ago or more
CONNECT_LIMIT_S: Final = 5.0  # per address, so that an unreachable one leaves time for the next
MAX_ADDRESSES_TRIED: Final = 4
MAX_FIELD_BYTES: Final = 8_190  # of the status line and of each header
MAX_HEADERS: Final = 64
BODY_LIMIT_S: Final = 2.0  # the status has decided by then: a slow body must not keep the lease
STORED_BODY_BYTES: Final = 2_048  # what the owner may see of the body

_OWNER: Final[ContextVar[UUID]] = ContextVar("owner of the attempt")


class InvalidResponse(Exception):
    """The response has no final status: 101, or a number below 200 that HTTP does not define."""


# The first class that matches names the error; aiohttp's classes inherit from each other.
_ERRORS: Final[tuple[tuple[type[Exception], Error], ...]] = (
    (url_policy.AddressRefused, "address_refused"),
    (url_policy.UrlRefused, "url_refused"),
    (DnsLookupFailed, "dns_failed"),
    (InvalidResponse, "invalid_response"),
    (aiohttp.ClientResponseError, "invalid_response"),
    (aiohttp.ConnectionTimeoutError, "connect_failed"),
    (aiohttp.ClientSSLError, "tls_failed"),
    (aiohttp.ClientConnectorError, "connect_failed"),
    (aiohttp.ClientOSError, "connection_lost"),
    (aiohttp.ServerDisconnectedError, "connection_lost"),
    (TimeoutError, "timeout"),
)


@dataclass(slots=True)
class Response:
    """Filled in while it is read: `status` is set once the head was read, `body` is its start."""

    status: int | None = None
    retry_after: str | None = None
    body: bytearray = field(default_factory=bytearray)


class HttpClient:
    """One pool of connections for all receivers. Made inside an event loop, for that loop."""

    def __init__(self, policy: UrlPolicy, names: NameResolver) -> None:
        self._policy = policy
        self._resolver = _CheckingResolver(policy, names)
        self._tls: ssl.SSLContext | None = None
        self._sessions: list[aiohttp.ClientSession] = []
        self._renew_at_s = 0.0

    async def post(
        self,
        target: Target,
        owner_id: UUID,
        headers: Mapping[str, str],
        body: bytes,
        response: Response,
    ) -> None:
        """Fills in `response`. Raises what aiohttp, NameResolver and `check_addresses` raise.

        `owner_id` is whose share of the name look-ups it uses.
        """
        if target.literal is not None:  # aiohttp connects to it without asking the resolver
            url_policy.check_addresses([target.literal], target.port, self._policy)
        _OWNER.set(owner_id)
        session = await self._session()
        async with session.post(
            _url(target),
            data=body,
            headers=headers,
            allow_redirects=False,
            ssl=self._context() if target.tls else True,
        ) as answer:
            if answer.status < 200:
                raise InvalidResponse(answer.status)
            response.status = answer.status
            response.retry_after = answer.headers.get("Retry-After")
            async with asyncio.timeout(BODY_LIMIT_S):
                # To its end, within the guard's bound: then the connection can be used again.
                async for chunk in answer.content.iter_any():
                    response.body += chunk[: STORED_BODY_BYTES - len(response.body)]

    async def close(self) -> None:
        """Ends every connection."""
        for session in self._sessions:
            await session.close()
        await self._resolver.close()

    async def _session(self) -> aiohttp.ClientSession:
        """The newest session. Older ones serve their attempts in flight and are closed later."""
        if time.monotonic() < self._renew_at_s:
            return self._sessions[-1]
        self._renew_at_s = time.monotonic() + SESSION_AGE_S
        session = _open_session(self._resolver)
        self._sessions.append(session)
        if len(self._sessions) > MAX_SESSIONS:
            await self._sessions.pop(0).close()
        return session

    def _context(self) -> ssl.SSLContext:
        """Made once, at the first https URL: reading the authorities takes 50 ms."""
        if self._tls is None:
            self._tls = _tls_context()
        return self._tls


class _CheckingResolver(AbstractResolver):
    """Gives aiohttp the addresses that were checked, and no others."""

    def __init__(self, policy: UrlPolicy, names: NameResolver) -> None:
        self._policy = policy
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises DnsLookupFailed or AddressRefused. Runs in the context of the attempt."""
        addresses = await self._names.addresses(host, _OWNER.get())
        url_policy.check_addresses(addresses, port, self._policy)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=family,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses[:MAX_ADDRESSES_TRIED]
        ]

    async def close(self) -> None:
        await self._names.close()


def name_error(failure: Exception) -> Error:
    """The public name of what `HttpClient.post` raised; `internal_error` for a bug."""
    return next((name for kind, name in _ERRORS if isinstance(failure, kind)), "internal_error")


def _open_session(resolver: AbstractResolver) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=resolver,
            use_dns_cache=False,  # it would share look-ups between owners
            limit=MAX_CONNECTIONS,
            keepalive_timeout=IDLE_LIMIT_S,
        ),
        timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_LIMIT_S),
        request_class=GuardedRequest,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=MAX_FIELD_BYTES,
        max_field_size=MAX_FIELD_BYTES,
        max_headers=MAX_HEADERS,
    )


def _url(target: Target) -> URL:
    """The URL with the path's bytes as its owner wrote them."""
    path, _, query = target.path.partition("?")
    return URL.build(
        scheme="https" if target.tls else "http",
        authority=target.authority,
        path=path,
        query_string=query,
        encoded=True,
    )


def _tls_context() -> ssl.SSLContext:
    """The system's authorities, and those of certifi for images that have none.

    SSL_CERT_FILE, if set, is the whole list.
    """
    context = ssl.create_default_context()
    if "SSL_CERT_FILE" not in os.environ:
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context
