"""The webhook receiver of tests/support, under the names that the delivery tests use."""

from collections.abc import Callable

from tests.support.waiting import wait_until
from tests.support.webhook_receiver import (
    CLOSE,
    DROP,
    HANG,
    OK,
    Behaviour,
    Request,
    WebhookReceiver,
    receiving,
    response,
)

__all__ = [
    "CLOSE",
    "DROP",
    "HANG",
    "OK",
    "Behaviour",
    "Receiver",
    "Request",
    "receiving",
    "status",
    "until",
]

Receiver = WebhookReceiver
status = response


def until(
    holds: Callable[[], bool], limit_s: float = 20, state: Callable[[], object] = lambda: ""
) -> None:
    """Waits for a condition. AssertionError with what `state` returns after the limit."""
    wait_until(holds, limit_s, state)
