"""Limits of what one process works on at a time: requests in flight, and large bodies by user."""

from typing import Final

from finpay.errors import overloaded

# A quarter of a second of work of one process: beyond it a fast refusal is better than a late
# response. What that costs is in docs/performance.md.
MAX_IN_FLIGHT: Final = 448
OVERLOADED: Final = "The server is overloaded. Retry after the time in Retry-After."
MAX_LARGE_BODIES: Final = 128  # that arrive at a time: each may be buffered twice
MAX_LARGE_BODIES_PER_USER: Final = 16


class InFlight:
    """Number of requests that this process works on, without those that wait: in `Pipeline._wait`,
    or, within `with in_flight:`, for their body. Clients may send that as slowly as they like.

    FinPayError `overloaded` at the end of such a wait, if the others are too many then.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count -= 1

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.count += 1
        if error is None and self.count > MAX_IN_FLIGHT:
            raise overloaded(OVERLOADED)
