"""Decides whether a failed request is retried, and after how long. No I/O, no clock."""

from dataclasses import dataclass
from typing import Any, Final

from finpay.client._errors import ApiError, ConnectionFailed, RequestFailed
from finpay.client._operations import Operation
from finpay.errors import Code

_FIRST_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 8.0  # FinPay recovers sooner; a person waits no longer

# A request that is in progress is asked for until its claim must have ended: the claim of a
# crashed server process lasts 10 s, and 15 polls take 15 s or more.
MAX_POLLS: Final = 15
_MIN_POLL_S: Final = 1.0
_POLL_JITTER_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_retries` of one call (0: none, and no polls), `max_wait_s` for all of its pauses."""

    max_retries: int = 4
    max_wait_s: float = 60.0


@dataclass(slots=True)
class Retries:
    """What one call has used of its policy."""

    policy: RetryPolicy
    retries: int = 0
    polls: int = 0
    waited_s: float = 0.0

    def next_delay_s(
        self, operation: Operation[Any], failure: RequestFailed, *, jitter: float
    ) -> float | None:
        """How long to wait before the next attempt; None: raise the failure.

        `jitter` is in [0, 1). Full jitter: clients that failed together don't retry together.
        """
        if self.policy.max_retries == 0 or not _may_repeat(operation, failure):
            return None
        least_s: float = failure.retry_after_s or 0  # never before the server's own time
        if _is_in_progress(failure):
            least_s, spread_s = max(_MIN_POLL_S, least_s), _POLL_JITTER_S
            used_up = self.polls >= MAX_POLLS
            self.polls += 1
        else:
            spread_s = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2.0**self.retries)
            used_up = self.retries >= self.policy.max_retries
            self.retries += 1
        if used_up or self.waited_s + least_s > self.policy.max_wait_s:
            return None
        delay_s = min(least_s + jitter * spread_s, self.policy.max_wait_s - self.waited_s)
        self.waited_s += delay_s
        return delay_s


def _is_in_progress(failure: RequestFailed) -> bool:
    return isinstance(failure, ApiError) and failure.code is Code.REQUEST_IN_PROGRESS


def _may_repeat(operation: Operation[Any], failure: RequestFailed) -> bool:
    if isinstance(failure, ConnectionFailed) and not failure.sent:
        return True
    return operation.repeatable and failure.retryable
