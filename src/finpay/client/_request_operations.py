"""Every operation on payment requests and schedules: path, body and result."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, Required, TypedDict, TypeVar

from finpay.client._models import Page, PaymentRequest, Schedule, Transaction
from finpay.client._operations import Operation, check_key, checked, json_body, parameter, query

_REQUESTS: Final = "/api/v1/payment_requests"
_SCHEDULES: Final = "/api/v1/schedules"

T = TypeVar("T")


class RequestParams(TypedDict, total=False):
    """`payer_email` None: any user who has the id may pay. `expires_in` is in seconds (30 days)."""

    amount: Required[int]
    payer_email: str | None
    currency: str | None
    description: str | None
    metadata: Mapping[str, str] | None
    expires_in: int | None
    idempotency_key: str | None


class SplitParams(TypedDict, total=False):
    """With `include_me` the caller has a share too, the last one; it makes no request."""

    amount: Required[int]
    payer_emails: Required[Sequence[str]]
    include_me: bool | None
    currency: str | None
    description: str | None
    metadata: Mapping[str, str] | None
    expires_in: int | None
    idempotency_key: str | None


class PaymentRequestFilters(TypedDict, total=False):
    """`limit` is the page size, 1 to 100."""

    direction: Literal["sent", "received"] | None
    status: Literal["open", "paid", "declined", "canceled", "expired"] | None
    limit: int | None


class Every(TypedDict):
    """An interval of 1 to 365 days, weeks or months."""

    unit: Literal["day", "week", "month"]
    count: int


class ScheduleParams(TypedDict, total=False):
    """`receiver_id` or `receiver_email`, exactly one. Without `every` it is run once; `until` (the
    last moment) or `occurrences` (the number of runs) ends it. `timezone` is an IANA name."""

    amount: Required[int]
    start_at: Required[datetime]
    receiver_id: str | None
    receiver_email: str | None
    currency: str | None
    description: str | None
    metadata: Mapping[str, str] | None
    every: Every | None
    timezone: str | None
    until: datetime | None
    occurrences: int | None
    idempotency_key: str | None


def create_request(request: RequestParams, new_key: str) -> Operation[PaymentRequest]:
    """Key and body are made once, so every attempt carries the same ones."""
    return _keyed(_REQUESTS, PaymentRequest, request, new_key)


def split(request: SplitParams, new_key: str) -> Operation[Page[PaymentRequest]]:
    """Key and body are made once, so every attempt carries the same ones."""
    members = {**request, "payer_emails": list(request.get("payer_emails", ()))}
    return _keyed(f"{_REQUESTS}/split", Page[PaymentRequest], members, new_key)


def request(request_id: str) -> Operation[PaymentRequest]:
    return Operation("GET", _request(request_id), PaymentRequest)


def qr_code(request_id: str) -> Operation[bytes]:
    return Operation("GET", f"{_request(request_id)}/qr", bytes, media_type="image/svg+xml")


def requests(filters: PaymentRequestFilters) -> Operation[Page[PaymentRequest]]:
    return Operation("GET", _REQUESTS, Page[PaymentRequest], params=query(filters))


def pay(request_id: str, idempotency_key: str | None, new_key: str) -> Operation[Transaction]:
    key = new_key if idempotency_key is None else idempotency_key
    check_key(key)
    return Operation("POST", f"{_request(request_id)}/pay", Transaction, idempotency_key=key)


def end(request_id: str, verb: Literal["cancel", "decline"]) -> Operation[PaymentRequest]:
    """Not repeatable: the second attempt would be 409."""
    path = f"{_request(request_id)}/{verb}"
    return Operation("POST", path, PaymentRequest, repeatable=False)


def create_schedule(schedule: ScheduleParams, new_key: str) -> Operation[Schedule]:
    """Key and body are made once, so every attempt carries the same ones."""
    times = {
        name: parameter(name, value)
        for name, value in schedule.items()
        if isinstance(value, datetime)
    }
    return _keyed(_SCHEDULES, Schedule, {**schedule, **times}, new_key)


def schedule(schedule_id: str) -> Operation[Schedule]:
    return Operation("GET", _schedule(schedule_id), Schedule)


def schedules(limit: int | None) -> Operation[Page[Schedule]]:
    return Operation("GET", _SCHEDULES, Page[Schedule], params=query({"limit": limit}))


def change(schedule_id: str, verb: Literal["pause", "resume", "cancel"]) -> Operation[Schedule]:
    """Pausing and resuming may be repeated; a second cancellation would be 409."""
    path = f"{_schedule(schedule_id)}/{verb}"
    return Operation("POST", path, Schedule, repeatable=verb != "cancel")


def _keyed(path: str, result: type[T], members: Mapping[str, object], new_key: str) -> Operation[T]:
    body = dict(members)
    key = str(body.pop("idempotency_key", None) or new_key)
    check_key(key)
    return Operation("POST", path, result, json_body(body), idempotency_key=key)


def _request(request_id: str) -> str:
    return f"{_REQUESTS}/{checked('prq', request_id)}"


def _schedule(schedule_id: str) -> str:
    return f"{_SCHEDULES}/{checked('sch', schedule_id)}"
