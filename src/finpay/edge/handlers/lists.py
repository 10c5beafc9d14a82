"""One page of a list, as every list route answers it."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from finpay.edge.request.model import Context
from finpay.edge.request.pagination import (
    DEFAULT_LIMIT,
    CursorCodec,
    link,
    position_to_uuid,
    uuid_to_position,
)
from finpay.edge.response import Response
from finpay.edge.schemas.responses import encode

Row = TypeVar("Row")


def limit_of(context: Context) -> int:
    """The length of the page that was asked for."""
    limit: int = context.parameters.get("limit", DEFAULT_LIMIT)
    return limit


def id_before(context: Context) -> UUID | None:
    """Of a list that is ordered by id: the last id of the page before; None on the first page."""
    position = context.parameters.get("cursor")
    return None if position is None else position_to_uuid(position)


def id_position(last: UUID | None) -> tuple[int, ...] | None:
    """Of a list that is ordered by id: the position after this one."""
    return None if last is None else uuid_to_position(last)


def list_response(
    context: Context,
    schema: type[Any],
    rows: Sequence[Row],
    *,
    resource: Callable[[Row], Any],
    codec: CursorCodec,
    position: Callable[[Row], tuple[int, ...]],
    scanned_to: tuple[int, ...] | None = None,
) -> Response:
    """The first `limit` of `rows`; one row more says that there is a next page.

    `resource` makes what is shown of a row, `position` where the next page begins after it. A short
    page with `scanned_to` goes on there: no more rows were read for it.
    """
    limit = limit_of(context)
    page = rows[:limit]
    cursor = None
    if len(rows) > limit:
        cursor = codec.write(context.caller.account_id, *position(page[-1]))
    elif scanned_to is not None:
        cursor = codec.write(context.caller.account_id, *scanned_to)
    body = encode(schema("list", [resource(row) for row in page], cursor is not None, cursor))
    path = context.path.replace("{id}", context.path_id)
    return Response(200, body, headers=link(path, context.query, cursor))
