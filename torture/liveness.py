"""Whether a healed system serves as before: two time windows of the same load, compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from torture.history import Sample

MIN_SUCCESS: Final = 0.99
MAX_SLOWDOWN: Final = 2.0
PARTS: Final = 3  # of a window: one stall of the machine does not count as a slow system


@dataclass(frozen=True, slots=True)
class Window:
    """The requests between two moments. `success` is a share.

    p99 is the median of the p99s of the window's PARTS.
    """

    requests: int
    success: float
    p50_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Liveness:
    """`ready_s` is the time from healing to /readyz, None if it was never ready."""

    before: Window
    after: Window
    ready_s: float | None

    @property
    def faults(self) -> list[str]:
        """What is worse than before the faults."""
        found = []
        if self.ready_s is None:
            found.append("an API process was not ready in time")
        if self.after.success < MIN_SUCCESS:
            found.append(f"{self.after.success:.2%} of the requests succeeded after healing")
        if self.after.p99_s > MAX_SLOWDOWN * self.before.p99_s:
            found.append(
                f"p99 is {self.after.p99_s * 1000:.0f} ms after healing, and was "
                f"{self.before.p99_s * 1000:.0f} ms"
            )
        return found


def window(samples: Sequence[Sample], from_s: float, to_s: float) -> Window:
    """The requests that began between the two moments."""
    inside = [sample for sample in samples if from_s <= sample.at_s < to_s]
    part_s = (to_s - from_s) / PARTS
    parts: list[list[float]] = [[] for _ in range(PARTS)]
    for sample in inside:
        parts[min(PARTS - 1, int((sample.at_s - from_s) / part_s))].append(sample.took_s)
    return Window(
        len(inside),
        sum(sample.ok for sample in inside) / max(1, len(inside)),
        percentile(sorted(sample.took_s for sample in inside), 0.5),
        median(percentile(sorted(part), 0.99) for part in parts),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
