"""Everything behind the head of a request, read and checked in one pass before the gate.

An invalid request counts in the rate limits too, so its error is kept until the gate has answered.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from finpay import ids
from finpay.edge.request import json_body, query_params
from finpay.edge.request.model import Request
from finpay.edge.router import Route
from finpay.errors import Code, FinPayError, validation_failed

FINGERPRINT_BYTES: Final = 16
LARGE_BODY_BYTES: Final = 64 * 1024

# Parses larger bodies, one at a time: 1 MiB takes up to 50 ms, in which the event loop goes on.
_LARGE_BODIES: Final = ThreadPoolExecutor(1, "large_bodies")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode


class ClientDisconnected(Exception):
    """The client closed the connection before its request was whole."""


class ParsedRequest(Struct, frozen=True):
    """What the request asks for, or its `error`. `transfers` counts those of a money POST."""

    error: FinPayError | None = None
    command: Any = None
    key: str = ""
    fingerprint: bytes = b""
    transfers: int = 1
    query: Mapping[str, str] = {}
    parameters: Mapping[str, Any] = {}

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error


async def parse(
    request: Request,
    route: Route,
    account: UUID | None = None,
    max_transfers: int | None = None,
    path_id: str = "",
) -> ParsedRequest:
    """Reads and checks query and body. `account` is the caller's, for the cursors of lists."""
    try:
        if route.method in {"POST", "PATCH"}:
            raw = await _read_body(request, route.max_body_bytes)
            arguments = request, route, raw, max_transfers, path_id
            if len(raw) <= LARGE_BODY_BYTES:
                return _parse_body(*arguments)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(_LARGE_BODIES, _parse_body, *arguments)
        query, parameters = query_params.parse(request.query, route.parameters, account)
        return ParsedRequest(query=query, parameters=parameters)
    except FinPayError as error:
        return ParsedRequest(error=error)


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. 413 for one over `max_bytes`, of which no more than that is read."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    message = await request.receive()
    body = _part(message)
    if message.get("more_body", False):
        body = await _read_rest(request, bytearray(body), max_bytes)
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    request.body_was_read = True
    return body


async def _read_rest(request: Request, body: bytearray, max_bytes: int) -> bytes:
    """One growing buffer: memory does not depend on the number of chunks."""
    more = True
    while more and len(body) <= max_bytes:
        message = await request.receive()
        body += _part(message)
        more = message.get("more_body", False)
    return bytes(body)


def _part(message: Mapping[str, Any]) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    part: bytes = message.get("body", b"")
    return part


def _parse_body(
    request: Request, route: Route, raw: bytes, max_transfers: int | None, path_id: str
) -> ParsedRequest:
    """In the order of the contract: 415, 400, 404 of a malformed id, 422."""
    if raw or (route.body is not None and b"content-type" in request.headers):
        _check_media_type(request)
    if route.body is None:
        query_params.parse(request.query, route.parameters)
        return ParsedRequest()
    value = {} if route.body_optional and not raw else json_body.decode(raw, route.max_body_values)
    key = "" if _is_dry_run(request, route) else _read_key(request, route)
    _check_path_id(route, path_id)
    json_body.check_storable(raw, value)
    query, parameters = query_params.parse(request.query, route.parameters)
    command = json_body.convert(value, route.body).checked()
    transfers = getattr(command, "count", 1)
    if route.needs_key or route.in_transaction_tier:
        pointer = getattr(command, "COUNTED_AT", "#")
        _check_number(transfers, max_transfers, pointer)
    return ParsedRequest(
        command=command,
        transfers=transfers,
        key=key,
        fingerprint=_fingerprint(route, path_id, query, value) if key else b"",
        query=query,
        parameters=parameters,
    )


def _check_number(transfers: int, most: int | None, pointer: str) -> None:
    """422 for a request with more transfers than a window of the transaction tier admits."""
    if most is not None and transfers > most:
        raise validation_failed(
            f"The rate limit allows {most} transfers in one request; this one has {transfers}.",
            pointer=pointer,
        )


def _is_dry_run(request: Request, route: Route) -> bool:
    """A dry run needs no key. A bad query is refused later, in the order of answers."""
    if not request.query or "dry_run" not in route.parameters:
        return False
    try:
        _, parameters = query_params.parse(request.query, route.parameters)
    except FinPayError:
        return False
    return bool(parameters.get("dry_run"))


def _check_path_id(route: Route, path_id: str) -> None:
    """404 for what is not an id of the route's kind, as for one that does not exist."""
    if route.id_prefix is None:
        return
    try:
        ids.decode(route.id_prefix, path_id)
    except ids.MalformedId:
        raise FinPayError(Code.NOT_FOUND, "There is nothing with this id.") from None


def _fingerprint(route: Route, path_id: str, query: Mapping[str, str], value: Any) -> bytes:
    """Of method, path with its id, query, and JSON with sorted members."""
    path = route.path.replace("{id}", path_id)
    text = f"{route.method} {path}?{query_params.canonical(query)}\n"
    digest = hashlib.blake2b(text.encode(), digest_size=FINGERPRINT_BYTES)
    digest.update(_encode_sorted(value))
    return digest.digest()


def _check_media_type(request: Request) -> None:
    """415 unless the body is application/json in UTF-8, not encoded further."""
    content_type = request.headers.get(b"content-type")
    if content_type != b"application/json" and not _is_json(request.header(b"content-type")):
        raise FinPayError(
            Code.UNSUPPORTED_MEDIA_TYPE, "Send the body with Content-Type: application/json."
        )
    if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise FinPayError(
            Code.UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding such as gzip."
        )


def _is_json(content_type: str | None) -> bool:
    """RFC 8259 defines no parameter; `charset` has to be UTF-8, others are ignored."""
    media_type, *parameters = (content_type or "").split(";")
    if media_type.strip().lower() != "application/json":
        return False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() != "utf-8":
            return False
    return True


def _read_key(request: Request, route: Route) -> str:
    """From X-Idempotency-Key or Idempotency-Key, without surrounding quotes; empty where there need
    not be one. 400 for an invalid one, or a missing one."""
    if not route.needs_key and not route.accepts_key:
        return ""
    ours, standard = request.header(b"x-idempotency-key"), request.header(b"idempotency-key")
    given = standard if ours is None else ours
    if given is None and route.accepts_key:
        return ""
    if given is None:
        raise FinPayError(
            Code.IDEMPOTENCY_KEY_MISSING,
            "Send X-Idempotency-Key: a text of your own that is new for each payment "
            "and the same when you retry it, such as a UUID.",
        )
    key = _unquoted(given)
    if standard is not None and key != _unquoted(standard):
        raise FinPayError(
            Code.IDEMPOTENCY_KEY_INVALID,
            "X-Idempotency-Key and Idempotency-Key differ. Send one of them.",
        )
    if _KEY.fullmatch(key) is None:
        raise FinPayError(
            Code.IDEMPOTENCY_KEY_INVALID,
            "A key has 1 to 255 visible ASCII characters and no space.",
        )
    return key


def _unquoted(value: str) -> str:
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    return text


def _too_large(max_bytes: int) -> FinPayError:
    return FinPayError(
        Code.BODY_TOO_LARGE,
        f"The body has more than {max_bytes} bytes.",
        headers={"Connection": "close"},  # the rest of the body is not read
    )
