"""Payment requests: made, canceled, declined and expired by SQL functions, and read back. They are
paid by operations of the commit batch: see posting.

A request has a side for its requester and one for its payer. Any user who has the id of
one without a named payer may see a part of it while it is open, and pay it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.formats import MinorUnits, Timestamp, format_timestamp
from finpay.ledger.changes import ChangeOrigin, ChangeResult, change_result

Status = Literal["open", "paid", "declined", "canceled", "expired"]
Direction = Literal["sent", "received"]
Caller = Literal["sent", "received", "anyone"]

EXPIRE_AT_ONCE: Final = 200  # requests of one transaction, which holds the locks of their accounts

_SQL: Final = queries.load("finpay.ledger", "payment_requests.sql")
_END: Final = (datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))


class Requester(Struct, frozen=True):
    """Who asks for money. The account is null for a caller who is no party of the request."""

    account_id: str | None
    name: str | None


class PaymentRequest(Struct, frozen=True):
    """A request to be paid. `direction`: sent by the requester, received by the payer.

    Who merely has the id of an open request without a payer_email sees its amount, currency,
    requester's name, description, status and expires_at; the rest is null or `{}`.
    """

    id: str
    object: Literal["payment_request"]
    status: Annotated[str, Meta(examples=list(get_args(Status)))]
    direction: Direction | None
    amount: MinorUnits
    currency: str
    requester: Requester
    payer_email: str | None
    description: str | None
    metadata: dict[str, str]
    url: Annotated[str | None, Meta(description="Where to pay it; null without FINPAY_PUBLIC_URL.")]
    transaction_id: Annotated[str | None, Meta(description="The transfer that paid it.")]
    expires_at: Timestamp
    created_at: Timestamp | None


class RequestRow(Struct, frozen=True):
    """A request as stored, and what the caller is to it; None for who may not know of it."""

    id: UUID
    requester_id: UUID
    requester_name: str | None
    amount: int
    currency: str
    payer_email: str | None
    status: Status
    description: str | None
    metadata: str
    transaction_id: UUID | None
    expires_at: datetime
    created_at: datetime
    caller: Caller | None


class NewRequest(Struct, frozen=True):
    """What is asked of each payer: amounts and e-mail addresses belong together by position."""

    amounts: Sequence[int]
    payer_emails: Sequence[str | None]
    currency: str | None
    description: str | None
    metadata: str
    expires_in_s: int
    is_split: bool


async def create(
    database: Database,
    origin: ChangeOrigin,
    new: NewRequest,
    public_url: str | None,
    refusals: Sequence[str],
) -> ChangeResult:
    """Makes them all or none. `refusals`: account_frozen and currency_mismatch as bodies."""
    return change_result(
        await database.fetch_one(
            _SQL.create_payment_requests,
            *origin.arguments(),
            new.amounts,
            new.payer_emails,
            new.currency,
            new.description,
            new.metadata,
            new.expires_in_s,
            new.is_split,
            public_url,
            refusals,
        )
    )


async def end(
    database: Database,
    origin: ChangeOrigin,
    request_id: UUID,
    status: Literal["canceled", "declined"],
    public_url: str | None,
) -> ChangeResult:
    """Cancels a request as its requester or declines it as its named payer."""
    row = await database.fetch_one(
        _SQL.end_payment_request, *origin.arguments(), request_id, status, public_url
    )
    return change_result(row)


async def expire(database: Database, public_url: str | None) -> int:
    """Ends open requests whose time is over. Returns their number, at most EXPIRE_AT_ONCE."""
    row = await database.fetch_one(_SQL.expire_payment_requests, EXPIRE_AT_ONCE, public_url)
    assert row is not None, "a function returns one row"  # noqa: S101
    ended: int = row["ended"]
    return ended


async def get(
    database: Database, request_id: UUID, *, account_id: UUID, user_id: UUID
) -> RequestRow | None:
    """The request, for any caller; the member `caller` says what of it may be shown."""
    row = await database.fetch_one(_SQL.get_payment_request, request_id, account_id, user_id)
    return None if row is None else _row(row)


async def list_(
    database: Database,
    *,
    account_id: UUID,
    user_id: UUID,
    before: tuple[datetime, UUID] | None,
    direction: Direction | None,
    status: Status | None,
    limit: int,
) -> list[RequestRow]:
    """The account's requests, newest first, all before a position."""
    created_at, request_id = before or _END
    rows = await database.fetch(
        _SQL.list_payment_requests,
        account_id,
        created_at,
        request_id,
        [direction == "sent"] if direction else [True, False],
        [status] if status else list(get_args(Status)),
        limit,
        status is not None,
        user_id,
    )
    return [_row(row) for row in rows]


def resource(row: RequestRow, public_url: str | None) -> PaymentRequest:
    """The request as the caller may see it."""
    is_party = row.caller != "anyone"
    request_id = ids.encode("prq", row.id)
    account_id = ids.encode("acc", row.requester_id) if is_party else None
    return PaymentRequest(
        id=request_id,
        object="payment_request",
        status=row.status,
        direction=row.caller if row.caller != "anyone" else None,
        amount=row.amount,
        currency=row.currency,
        requester=Requester(account_id, row.requester_name),
        payer_email=row.payer_email,
        description=row.description,
        metadata=_metadata(row.metadata) if is_party else {},
        url=payment_url(public_url, request_id) if is_party else None,
        transaction_id=None
        if row.transaction_id is None
        else ids.encode("txn", row.transaction_id),
        expires_at=format_timestamp(row.expires_at),
        created_at=format_timestamp(row.created_at) if is_party else None,
    )


def payment_url(public_url: str | None, request_id: str) -> str | None:
    """Where people pay a request; ledger.payment_request_object writes the same."""
    return None if public_url is None else f"{public_url}/pay/{request_id}"


def _metadata(text: str) -> dict[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])


def _row(row: Record) -> RequestRow:
    values: Any = tuple(row)
    return RequestRow(*values)
