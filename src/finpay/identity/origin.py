"""Where a request came from, for the audit trail."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """The request's id, and the address of its client where that is known."""

    request_id: str
    address: str | None
