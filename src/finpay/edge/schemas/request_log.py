"""Schemas of the request log."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from finpay import ids
from finpay.formats import Timestamp, format_timestamp
from finpay.identity.request_log import LoggedRequest as Row


class LoggedRequest(Struct, frozen=True):
    """A request of the caller. One of `session_id` and `api_key_id` is null."""

    id: str
    object: Literal["request"]
    request_id: Annotated[str, Meta(description="As in X-Request-Id: `id`, or the client's own.")]
    method: str
    route: Annotated[str, Meta(examples=["/api/v1/transactions/{id}"])]
    status: int
    code: Annotated[str | None, Meta(description="Of a problem.")]
    duration_ms: int
    session_id: str | None
    api_key_id: str | None
    created_at: Timestamp


class LoggedRequestList(Struct, frozen=True):
    """One page of requests."""

    object: Literal["list"]
    data: list[LoggedRequest]
    has_more: bool
    next_cursor: str | None


def logged_request(row: Row) -> LoggedRequest:
    return LoggedRequest(
        id=ids.encode("req", row.id),
        object="request",
        request_id=row.request_id,
        method=row.method,
        route=row.route,
        status=row.status,
        code=row.code,
        duration_ms=row.duration_ms,
        session_id=None if row.is_api_key else ids.encode("ses", row.credential_id),
        api_key_id=ids.encode("key", row.credential_id) if row.is_api_key else None,
        created_at=format_timestamp(row.created_at),
    )
