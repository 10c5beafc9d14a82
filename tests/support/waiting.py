"""Waiting for a condition."""

import time
from collections.abc import Callable
from typing import Final

POLL_S: Final = 0.02


def wait_until(
    condition: Callable[[], object], limit_s: float, what: Callable[[], object] | str = "condition"
) -> float:
    """Seconds until the condition held. AssertionError, naming `what`, after the limit."""
    started = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - started
        assert waited_s < limit_s, f"not within {limit_s} s: {what() if callable(what) else what}"
        time.sleep(POLL_S)
    return time.monotonic() - started
