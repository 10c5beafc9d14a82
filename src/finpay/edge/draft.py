"""The rest of a request, read and checked before the gate, judged after it.

A body that is wrong is only counted, so what is wrong with it waits here as a fault.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from finpay.edge import idempotency, lists
from finpay.edge.body import (
    MAX_BODY_BYTES,
    check_content_type,
    check_texts,
    convert,
    read_members,
)
from finpay.edge.request import Request
from finpay.edge.routes import Route
from finpay.errors import Code, FinPayError

BODY_DEADLINE_S: Final = 15.0  # 64 KiB at 4 KiB/s; slower is no client of ours


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


class Draft(Struct, frozen=True):
    """What was asked for, or what is wrong with it."""

    fault: FinPayError | None = None
    command: Any = None
    key: str = ""
    fingerprint: bytes = b""
    query: Mapping[str, str] = {}
    parameters: Mapping[str, Any] = {}

    def raise_fault(self) -> None:
        if self.fault is not None:
            raise self.fault


async def prepare(request: Request, route: Route, account: UUID | None = None) -> Draft:
    """Reads and checks everything behind the head of a request of the owner of `account`."""
    try:
        if route.method in {"POST", "PATCH"}:
            return await _prepare_body(request, route)
        query, parameters = lists.parse_query(request.query, route.parameters, account)
        return Draft(query=query, parameters=parameters)
    except FinPayError as fault:
        return Draft(fault=fault)


async def _prepare_body(request: Request, route: Route) -> Draft:
    """In the order of the contract: 413, 415, 400, 422."""
    raw = await _read_body(request)
    if raw or (route.body is not None and request.header("content-type") is not None):
        check_content_type(request.header("content-type"))
    if route.body is None:
        lists.parse_query(request.query, route.parameters)
        return Draft()
    members = read_members(raw)
    key = idempotency.read_key(request) if route.money else ""
    check_texts(raw, members)
    lists.parse_query(request.query, route.parameters)
    command = convert(members, route.body).checked()
    if not route.money:
        return Draft(command=command)
    return Draft(
        command=command,
        key=key,
        fingerprint=idempotency.fingerprint(route.method, route.path, members),
    )


async def _read_body(request: Request) -> bytes:
    announced = request.header("content-length") or "0"
    if not announced.isdigit() or int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            return await _receive_all(request)
    except TimeoutError:
        raise FinPayError(
            Code.MALFORMED_JSON,
            f"The body did not arrive within {BODY_DEADLINE_S:.0f} seconds.",
            headers={"Connection": "close"},
        ) from None


async def _receive_all(request: Request) -> bytes:
    """Chunk by chunk, and no further than the limit."""
    body = b""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return body


def _too_large() -> FinPayError:
    # The rest of it is not read, so this connection is of no further use.
    return FinPayError(
        Code.BODY_TOO_LARGE,
        f"A body has at most {MAX_BODY_BYTES} bytes.",
        headers={"Connection": "close"},
    )
