"""The rest of a request, read and checked before the gate, judged after it.

A body that is wrong is only counted, so what is wrong with it waits here as a fault.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import Struct

from finpay.edge.request import idempotency_key, query_params
from finpay.edge.request.json_body import check_content_type, check_texts, convert, read_members
from finpay.edge.request.model import Request
from finpay.edge.routes import Route
from finpay.errors import Code, FinPayError, validation_failed


class ParsedRequest(Struct, frozen=True):
    """What was asked for, or what is wrong with it. `transfers` counts those of a money POST."""

    fault: FinPayError | None = None
    command: Any = None
    key: str = ""
    fingerprint: bytes = b""
    transfers: int = 1
    query: Mapping[str, str] = {}
    parameters: Mapping[str, Any] = {}

    def raise_fault(self) -> None:
        if self.fault is not None:
            raise self.fault


def parse(
    request: Request,
    route: Route,
    account: UUID | None = None,
    max_transfers: int | None = None,
) -> ParsedRequest:
    """Reads and checks everything behind the head of a request of the owner of `account`."""
    try:
        if route.method in {"POST", "PATCH"}:
            return _prepare_body(request, route, max_transfers)
        query, parameters = query_params.parse_query(request.query, route.parameters, account)
        return ParsedRequest(query=query, parameters=parameters)
    except FinPayError as fault:
        return ParsedRequest(fault=fault)


def _prepare_body(request: Request, route: Route, max_transfers: int | None) -> ParsedRequest:
    """In the order of the contract: 413, 415, 400, 422."""
    raw = _read_body(request, route.max_body_bytes)
    if raw or (route.body is not None and request.header(b"content-type") is not None):
        check_content_type(request.header(b"content-type"))
    if route.body is None:
        query_params.parse_query(request.query, route.parameters)
        return ParsedRequest()
    members = {} if route.body_optional and not raw else read_members(raw)
    key = idempotency_key.read_key(request) if route.money else ""
    check_texts(raw, members)
    query_params.parse_query(request.query, route.parameters)
    command = convert(members, route.body).checked()
    if not route.money:
        return ParsedRequest(command=command)
    if max_transfers is not None and command.count > max_transfers:
        raise validation_failed(
            f"The limit of transfers is {max_transfers} at a time, and these are {command.count}.",
            pointer="#/transactions",
        )
    return ParsedRequest(
        command=command,
        transfers=command.count,
        key=key,
        fingerprint=idempotency_key.fingerprint(route.method, route.path, members),
    )


def _read_body(request: Request, max_bytes: int) -> bytes:
    if request.oversized:
        raise FinPayError(Code.BODY_TOO_LARGE, f"The body has at most {max_bytes} bytes here.")
    if request.late:
        raise FinPayError(Code.MALFORMED_JSON, "The body did not arrive in time.")
    return request.body
