"""The result of a run: as text, and as JSON."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from torture.history import History
from torture.liveness import Liveness
from torture.nemesis import InjectedFault

SHOWN: Final = 10  # violations per count: enough to see the pattern
_GIT_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """`counts` has the twelve, each with its violations. `folder` is kept unless `ok`."""

    seed: int
    minutes: float
    faults: Sequence[InjectedFault]
    counts: Mapping[str, Sequence[str]]
    liveness: Liveness
    history: History
    ledger_reads: int
    deliveries: int
    folder: Path

    @property
    def ok(self) -> bool:
        return not any(self.counts.values()) and not self.liveness.faults

    @property
    def kills(self) -> int:
        return sum(fault.killed for fault in self.faults)

    @property
    def operations(self) -> int:
        return len(self.history.samples)

    @property
    def bound(self) -> float | None:
        """With no loss in n kills, the probability of a loss per kill is below 3/n (95 %)."""
        return 3 / self.kills if self.kills else None

    def as_json(self) -> dict[str, Any]:
        """All figures; at most SHOWN violations per count."""
        return {
            "ok": self.ok,
            "seed": self.seed,
            "minutes": self.minutes,
            "commit": commit(),
            "kills": self.kills,
            "faults": self._by_kind(),
            "missed": sum(bool(fault.missed) for fault in self.faults),
            "operations": self.operations,
            "money_requests": len(self.history.requests),
            "acknowledged": self._acknowledged(),
            "unanswered": self._unanswered(),
            "timeouts": self.history.timeouts,
            "ledger_reads": self.ledger_reads,
            "deliveries": self.deliveries,
            "counts": {name: len(found) for name, found in self.counts.items()},
            "violations": {
                name: list(found[:SHOWN]) for name, found in self.counts.items() if found
            },
            "liveness": asdict(self.liveness) | {"faults": self.liveness.faults},
            "loss_per_kill_below": self.bound,
            "folder": None if self.ok else str(self.folder),
        }

    def lines(self) -> Iterator[str]:
        """The text."""
        yield (
            f"{self.kills} kills and {len(self.faults) - self.kills} other faults in "
            f"{self.minutes:g} min; {self.operations} requests, {self._acknowledged()} "
            f"acknowledged, {self._unanswered()} without an answer; "
            f"{self.ledger_reads} reads of the ledger, {self.deliveries} webhooks."
        )
        for name, found in self.counts.items():
            yield f"{len(found):>6}  {name.replace('_', ' ')}"
            yield from (f"        {violation}" for violation in found[:SHOWN])
        before, after = self.liveness.before, self.liveness.after
        yield (
            f"Before: {before.success:.2%}, p99 {before.p99_s * 1000:.0f} ms. After healing: "
            f"{after.success:.2%}, p99 {after.p99_s * 1000:.0f} ms."
        )
        yield from (f"        {fault}" for fault in self.liveness.faults)
        if self.ok and self.bound is not None:
            yield (
                f"Nothing lost in {self.kills} kills: with 95 % confidence, fewer than "
                f"{self.bound:.1%} of kills lose something (3/n)."
            )
        if not self.ok:
            yield f"FAILED. The history and the logs are in {self.folder}"
        yield f"Repeat the same faults with --seed {self.seed}."

    def _by_kind(self) -> dict[str, int]:
        return dict(Counter(one.planned.fault.value for one in self.faults if not one.missed))

    def _acknowledged(self) -> int:
        return sum(
            any(response.status < 300 for response in request.responses)
            for request in self.history.requests
        )

    def _unanswered(self) -> int:
        return sum(
            attempt.response is None
            for request in self.history.requests
            for attempt in request.attempts
        )


def commit() -> str | None:
    """The commit of this tree; None outside of a git repository."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run(
        [git, "rev-parse", "--short=12", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=_GIT_LIMIT_S,
        check=False,
    )
    return done.stdout.strip() or None
