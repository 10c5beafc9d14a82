"""Handlers of /payment_requests."""

import io
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import segno

from finpay import ids
from finpay.edge.handlers import changes, operations
from finpay.edge.handlers.lists import limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import templates
from finpay.edge.schemas.payment_requests import PaymentRequestCommand, PaymentRequestList
from finpay.edge.schemas.responses import encode
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.ledger import payment_requests
from finpay.ledger.outcome import PAYMENT_REFUSALS, Outcome
from finpay.ledger.payment_requests import RequestRow, payment_url, resource

SVG: Final = b"image/svg+xml"
FILES: Final = {SVG.decode(): "A QR code of the url."}
_REFUSALS: Final = (Outcome.ACCOUNT_FROZEN, Outcome.CURRENCY_MISMATCH)
_END_REFUSALS: Final = {
    "forbidden": (
        Code.FORBIDDEN,
        "Only the requester can cancel a payment request; only its named payer can decline it.",
    ),
    "request_not_open": PAYMENT_REFUSALS[Outcome.REQUEST_NOT_OPEN],
}


async def create(services: Services, context: Context) -> Response:
    """One request, or those of a split. 422 beyond 100 open ones to one payer."""
    command: PaymentRequestCommand = context.command
    result = await payment_requests.create(
        services.database,
        changes.origin_of(context),
        command.new,
        services.settings.public_url,
        changes.refusal_bodies(context, _REFUSALS),
    )
    pointer = "#/payer_emails" if command.new.is_split else "#/payer_email"
    invalid = {
        "own_email": ("You can't ask yourself for money.", pointer),
        "too_many_open": (
            "At most 100 of your payment requests to one payer may be open. Cancel one.",
            pointer,
        ),
    }
    return changes.created(services, context, result, invalid)


async def list_(services: Services, context: Context) -> Response:
    caller = context.caller
    position = context.parameters.get("cursor")
    rows = await payment_requests.list_(
        services.database,
        account_id=caller.account_id,
        user_id=caller.user_id,
        before=None if position is None else _before(position),
        direction=context.parameters.get("direction"),
        status=context.parameters.get("status"),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        PaymentRequestList,
        rows,
        resource=lambda row: resource(row, services.settings.public_url),
        codec=pagination.PAYMENT_REQUESTS,
        position=_position,
    )


async def retrieve(services: Services, context: Context) -> Response:
    """404 for one with a payer_email of another user, and for one without that is not open."""
    row = await _visible(services, context)
    return Response(200, encode(resource(row, services.settings.public_url)))


async def qr(services: Services, context: Context) -> Response:
    """A QR code of the url. 404 where requests have none."""
    row = await _visible(services, context)
    url = payment_url(services.settings.public_url, ids.encode("prq", row.id))
    if url is None:
        raise FinPayError(
            Code.NOT_FOUND,
            "This server has no public URL, so its payment requests have no link and no QR code.",
        )
    return Response(200, _svg(url), SVG)


async def pay(services: Services, context: Context) -> Response:
    """Posts the transfer that the request asks for. The response is what the ledger stored."""
    target = request_id(context)
    transaction_id = ids.new_uuid()
    reply = templates.payment(transaction_id, target, context.caller.account)
    return await operations.post(services, context, "pay", transaction_id, reply, target=target)


async def cancel(services: Services, context: Context) -> Response:
    """By the requester."""
    return await _end(services, context, "canceled")


async def decline(services: Services, context: Context) -> Response:
    """By the named payer."""
    return await _end(services, context, "declined")


async def _end(
    services: Services, context: Context, status: Literal["canceled", "declined"]
) -> Response:
    result = await payment_requests.end(
        services.database,
        changes.origin_of(context),
        request_id(context),
        status,
        services.settings.public_url,
    )
    return changes.changed(services, result, absent=no_request(), refusals=_END_REFUSALS)


async def _row(services: Services, context: Context) -> RequestRow | None:
    caller = context.caller
    return await payment_requests.get(
        services.database,
        request_id(context),
        account_id=caller.account_id,
        user_id=caller.user_id,
    )


async def _visible(services: Services, context: Context) -> RequestRow:
    row = await _row(services, context)
    if row is None or row.caller is None:
        raise no_request()
    return row


def request_id(context: Context) -> UUID:
    """The id in the path. 404 for what is not the id of a payment request."""
    return context.path_uuid("prq", no_request())


def no_request() -> FinPayError:
    return FinPayError(*PAYMENT_REFUSALS[Outcome.NOT_FOUND])


def _svg(url: str) -> bytes:
    image = io.BytesIO()
    code = segno.make_qr(url, error="m")
    code.save(image, kind="svg", xmldecl=False, svgclass=None, lineclass=None, omitsize=True)
    return image.getvalue()


def _position(row: RequestRow) -> tuple[int, ...]:
    return (
        pagination.moment_to_position(row.created_at),
        *pagination.uuid_to_position(row.id),
    )


def _before(position: tuple[int, int, int, int]) -> tuple[datetime, UUID]:
    """The position that `_position` made."""
    microseconds, *parts = position
    moment = pagination.position_to_moment(microseconds)
    return moment, pagination.position_to_uuid((parts[0], parts[1], parts[2]))
