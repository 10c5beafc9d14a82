"""Handlers of the audit log, reconciliation, integrity and overview, for operators and auditors."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from finpay.edge.handlers.lists import limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.accept import preferred
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas.operators import AuditList
from finpay.edge.schemas.responses import encode
from finpay.edge.services import Services
from finpay.edge.streaming import started
from finpay.errors import invalid_parameter
from finpay.operators import audit, overview, reconciliation, resources

CSV: Final = b"text/csv; charset=utf-8; header=present"
FILES: Final = {"text/csv": "RFC 4180 in UTF-8, oldest first, amounts in major units."}

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)  # earlier than every row
_CLOCK_SLACK: Final = timedelta(minutes=1)  # of the database against this host
_MEDIA_TYPES: Final = {"application/json": "json", "text/csv": "csv"}


async def list_audit(services: Services, context: Context) -> Response:
    """Of the last day, or of at most 31 days."""
    parameters = dict(context.parameters)
    parameters.pop("limit", None)
    (before,) = parameters.pop("cursor", (None,))
    filters = _audit_filters(parameters, datetime.now(UTC))
    page = await audit.page(
        services.database, before=before, filters=filters, limit=limit_of(context) + 1
    )
    return list_response(
        context,
        AuditList,
        page.rows,
        resource=resources.audit_entry,
        codec=pagination.AUDIT,
        position=lambda row: (row.id,),
        scanned_to=None if page.scanned_to is None else (page.scanned_to,),
    )


def _audit_filters(parameters: dict[str, Any], now: datetime) -> audit.Filters:
    """422 for a range that is too long. Without an end it ends with the newest row."""
    created_to = parameters.pop("created_to", None)
    created_from = parameters.pop("created_from", None)
    if created_from is None:
        created_from = max(created_to or now, _FIRST) - audit.DEFAULT_RANGE
    if (created_to or now) - created_from > audit.MAX_RANGE:
        raise invalid_parameter(
            "created_from",
            "It has to be at most 31 days before created_to, which is now if left out.",
        )
    return audit.Filters(created_from, created_to or now + _CLOCK_SLACK, **parameters)


async def retrieve_integrity(services: Services, context: Context) -> Response:  # noqa: ARG001
    return Response(200, encode(await overview.integrity(services.database)))


async def retrieve_overview(services: Services, context: Context) -> Response:  # noqa: ARG001
    return Response(200, encode(await services.overview.get()))


async def retrieve_reconciliation(services: Services, context: Context) -> Response:
    """The payments of a day, in the format of the query, or else of Accept."""
    day, database = context.parameters["date"], services.database
    if day > await reconciliation.today(database):
        raise invalid_parameter("date", "The day is in the future.")
    kind = context.parameters.get("format") or preferred(context.accept, _MEDIA_TYPES, "json")
    if kind == "json":
        stream = await started(reconciliation.json_stream(database, day))
        return Response(200, limits=context.limits, stream=stream)
    stream = await started(reconciliation.csv_stream(database, day))
    name = {"Content-Disposition": f'attachment; filename="finpay-reconciliation-{day}.csv"'}
    return Response(200, b"", CSV, name, context.limits, stream=stream)
