"""Formats of values that requests, responses, events and log lines share."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

Timestamp = Annotated[
    str, Meta(description="RFC 3339, UTC, microseconds.", examples=["2026-01-31T12:00:00.000000Z"])
]
MinorUnits = Annotated[int, Meta(description="Minor units of the currency.")]


def format_timestamp(moment: datetime) -> str:
    """`2026-01-31T12:00:00.000000Z`, of an aware datetime in UTC."""
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def optional_timestamp(moment: datetime | None) -> str | None:
    """As format_timestamp; None for None."""
    return None if moment is None else format_timestamp(moment)
