"""When a delivery that failed is tried again. Pure."""

import random
import re
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final

JITTER: Final = 0.2  # either way, so that what failed together doesn't come back together
MAX_RETRY_AFTER_S: Final = 86_400.0  # the schedule's longest pause: a receiver can't park us

_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def next_wait_s(
    schedule_s: Sequence[int], step: int, retry_after: str | None, now_s: float | None = None
) -> float | None:
    """Seconds until the next attempt; None when the schedule is exhausted.

    `step` is how many attempts there were before this one, which failed. What the receiver asked
    for with Retry-After makes the wait longer, never shorter.
    """
    if step >= len(schedule_s):
        return None
    wait_s = schedule_s[step] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
    asked_s = _asked_s(retry_after, time.time() if now_s is None else now_s)
    return max(wait_s, min(asked_s, MAX_RETRY_AFTER_S))


def _asked_s(retry_after: str | None, now_s: float) -> float:
    """RFC 9110 §10.2.3: seconds, or a date. 0 for what is neither."""
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return int(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError, IndexError, TypeError):
        return 0.0
