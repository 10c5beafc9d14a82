"""When a failed delivery is attempted again. No I/O."""

import random
import re
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final

JITTER: Final = 0.2  # either way, so that deliveries that failed together are not retried together
MAX_RETRY_AFTER_S: Final = 86_400.0  # the schedule's longest pause bounds what a receiver can ask

_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def next_wait_s(
    schedule_s: Sequence[int], retry_index: int, retry_after: str | None, now_s: float | None = None
) -> float | None:
    """Seconds until the next attempt; None at the end of the schedule.

    `retry_index` counts the attempts before the one that failed. The receiver's Retry-After makes
    the wait longer, never shorter.
    """
    if retry_index >= len(schedule_s):
        return None
    wait_s = schedule_s[retry_index] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    asked_s = _retry_after_s(retry_after, time.time() if now_s is None else now_s)
    return max(wait_s, min(asked_s, MAX_RETRY_AFTER_S))


def _retry_after_s(retry_after: str | None, now_s: float) -> float:
    """RFC 9110 §10.2.3: seconds, or a date. 0 for any other text."""
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return int(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError, IndexError, TypeError):
        return 0.0
