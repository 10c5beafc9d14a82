"""Handlers of /accounts/balance and /accounts/statement."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from finpay.edge.handlers.accounts import no_account
from finpay.edge.rate_limiting import charge
from finpay.edge.request.accept import preferred
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.edge.streaming import started
from finpay.errors import Code, FinPayError, invalid_parameter
from finpay.statements import csv_stream, json_stream, resources
from finpay.statements.periods import MAX_DAYS, Period
from finpay.statements.reads import PastBalance

CSV: Final = b"text/csv; charset=utf-8; header=present"
PDF: Final = b"application/pdf"
FILES: Final = {
    "text/csv": "RFC 4180 in UTF-8, oldest first, amounts in major units.",
    "application/pdf": "A4.",
}
MAX_PDF_ENTRIES: Final = 5_000  # 120 pages, 7 seconds of a processor
ENTRIES_PER_UNIT: Final = 10_000  # of the rate limit: a tenth of a request per 1 000 entries

_MEDIA_TYPES: Final = {"application/json": "json", "text/csv": "csv", "application/pdf": "pdf"}


async def retrieve_balance(services: Services, context: Context) -> Response:
    """The balance of a moment, which is final, or of a version."""
    parameters = context.parameters
    if len(parameters) != 1:
        raise invalid_parameter("at", "Send either `at` or `version`, and nothing else.")
    if "at" in parameters:
        found = await _balance_at(services, context, parameters["at"])
    else:
        found = await _balance_of_version(services, context, parameters["version"])
    return Response(200, responses.encode(resources.balance(found)))


async def retrieve_statement(services: Services, context: Context) -> Response:
    """The statement of a period in the format of the query, or else of Accept."""
    kind = context.parameters.get("format") or preferred(context.accept, _MEDIA_TYPES, "json")
    now = await services.statements.now()
    period = _period(context)
    if period.last > now.astimezone(period.zone).date():
        raise invalid_parameter("to", "The last day is in the future.")
    bounds = await services.statements.bounds(context.caller.account_id, period, now)
    if bounds is None:
        raise no_account()
    if kind == "pdf" and bounds.entries > MAX_PDF_ENTRIES:
        raise invalid_parameter(
            "format",
            f"A PDF has at most {MAX_PDF_ENTRIES} entries, the period has {bounds.entries}. "
            "Ask for a shorter period, or for csv.",
        )
    limits = await charge(services, context, bounds.entries // ENTRIES_PER_UNIT)
    pages = services.statements.pages(bounds)
    if kind == "pdf":
        document = await services.pdf.make(bounds, period, pages, now)
        return Response(200, document, PDF, _attachment(period, kind), limits)
    if kind == "csv":
        stream = await started(csv_stream.stream(bounds, period, pages))
        return Response(200, b"", CSV, _attachment(period, kind), limits, stream=stream)
    stream = await started(json_stream.stream(bounds, period, pages))
    return Response(200, b"", limits=limits, stream=stream)


async def _balance_at(services: Services, context: Context, moment: datetime) -> PastBalance:
    if moment > await services.statements.now():
        raise invalid_parameter("at", "The moment is in the future.")
    found = await services.statements.balance_at(context.caller.account_id, moment)
    if found is None:
        raise no_account()
    return found


async def _balance_of_version(services: Services, context: Context, version: int) -> PastBalance:
    found = await services.statements.balance_of_version(context.caller.account_id, version)
    if found is None:
        raise FinPayError(Code.NOT_FOUND, "The account has not reached this version.")
    return found


def _period(context: Context) -> Period:
    parameters = context.parameters
    zone = parameters.get("timezone") or ZoneInfo("UTC")
    period = Period(parameters["from"], parameters["to"], zone)
    if period.days < 1:
        raise invalid_parameter("to", "The last day is before the first one.")
    if period.days > MAX_DAYS:
        raise invalid_parameter("to", f"A statement has at most {MAX_DAYS} days.")
    return period


def _attachment(period: Period, suffix: str) -> dict[str, str]:
    name = f"finpay-statement-{period.first}-{period.last}.{suffix}"
    return {"Content-Disposition": f'attachment; filename="{name}"'}
