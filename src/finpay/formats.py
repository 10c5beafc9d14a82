"""What all shapes of the wire share: how a moment is written, and what an amount is."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

Timestamp = Annotated[
    str, Meta(description="RFC 3339, UTC, microseconds.", examples=["2026-01-31T12:00:00.000000Z"])
]
MinorUnits = Annotated[int, Meta(description="Minor units of the currency.")]


def time(moment: datetime) -> str:
    """A moment in UTC as every answer writes it."""
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
