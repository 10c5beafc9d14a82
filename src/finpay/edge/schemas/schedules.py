"""Schemas of schedules.

`checked` of a body checks what types can't say, and returns the command for the handler.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from finpay.edge.request.query_params import parse_time
from finpay.edge.schemas.fields import (
    AccountId,
    Amount,
    Currency,
    Description,
    Email,
    Metadata,
    account_id,
    checked_details,
    normalised_email,
)
from finpay.errors import validation_failed
from finpay.ledger.schedules import Interval, NewSchedule, Schedule, timezones

Moment = Annotated[
    str, Meta(max_length=64, description="RFC 3339.", examples=["2026-12-01T08:00:00Z"])
]


class ScheduleCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """A transfer at a time, or at regular intervals from then on."""

    amount: Amount
    start_at: Annotated[Moment, Meta(description="Not past, at most 5 years ahead.")]
    receiver_id: AccountId | None = None
    receiver_email: Email | None = None
    currency: Currency | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    every: Annotated[Interval | None, Meta(description="Without it: once.")] = None
    timezone: Annotated[
        str,
        Meta(
            max_length=64,
            description="Of the IANA database: the local hour stays over daylight saving time.",
            examples=["Africa/Johannesburg"],
        ),
    ] = "UTC"
    until: Annotated[Moment, Meta(description="Inclusive.")] | None = None
    occurrences: (
        Annotated[int, Meta(ge=1, le=1_000_000, description="Runs after which it ends.")] | None
    ) = None

    def checked(self) -> "ScheduleCommand":
        if (self.receiver_id is None) == (self.receiver_email is None):
            raise validation_failed("Give exactly one of receiver_id and receiver_email.")
        metadata = checked_details(self.currency, self.description, self.metadata)
        self._check_repetition()
        receiver, email = self.receiver_id, self.receiver_email
        return ScheduleCommand(
            NewSchedule(
                receiver_id=None if receiver is None else account_id(receiver),
                receiver_email=None
                if email is None
                else normalised_email(email, "#/receiver_email"),
                amount=self.amount,
                currency=self.currency,
                description=self.description,
                metadata=msgspec.json.encode(metadata).decode(),
                start_at=_time(self.start_at, "#/start_at"),
                every=self.every,
                timezone=self.timezone,
                until=None if self.until is None else _time(self.until, "#/until"),
                occurrences=self.occurrences,
            )
        )

    def _check_repetition(self) -> None:
        if self.timezone not in timezones():
            raise validation_failed(
                "Expected a time zone of the IANA database such as Africa/Johannesburg.",
                pointer="#/timezone",
            )
        if self.until is not None and self.occurrences is not None:
            raise validation_failed("Give until or occurrences, not both.", pointer="#/until")
        if self.every is None and (self.until is not None or self.occurrences is not None):
            raise validation_failed(
                "until and occurrences need every: without it there is one occurrence.",
                pointer="#/every",
            )


class ScheduleCommand(Struct, frozen=True):
    """A checked ScheduleCreate."""

    new: NewSchedule


class ScheduleList(Struct, frozen=True):
    """One page of schedules."""

    object: Literal["list"]
    data: list[Schedule]
    has_more: bool
    next_cursor: str | None


class SchedulePage(Struct, frozen=True):
    """A ScheduleList whose schedules are JSON already."""

    object: Literal["list"]
    data: list[msgspec.Raw]
    has_more: bool
    next_cursor: str | None


def _time(text: str, pointer: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise validation_failed(str(error), pointer=pointer) from None
