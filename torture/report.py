"""What a run says in the end: for a person, and as JSON."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from torture.history import Journal
from torture.liveness import Liveness
from torture.nemesis import Struck

SHOWN: Final = 10  # sentences per count: enough to see the pattern
_GIT_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """`counts` are the twelve, each with what broke it. `folder` is kept where `ok` is False."""

    seed: int
    minutes: float
    strikes: Sequence[Struck]
    counts: Mapping[str, Sequence[str]]
    liveness: Liveness
    journal: Journal
    bank_reads: int
    deliveries: int
    folder: Path

    @property
    def ok(self) -> bool:
        return not any(self.counts.values()) and not self.liveness.faults

    @property
    def kills(self) -> int:
        return sum(struck.killed for struck in self.strikes)

    @property
    def operations(self) -> int:
        return len(self.journal.samples)

    @property
    def bound(self) -> float | None:
        """With no loss in n kills, the chance of one per kill is below 3/n (95 %)."""
        return 3 / self.kills if self.kills else None

    def as_json(self) -> dict[str, Any]:
        """Everything that it counted; violations are cut to SHOWN per count."""
        return {
            "ok": self.ok,
            "seed": self.seed,
            "minutes": self.minutes,
            "commit": commit(),
            "kills": self.kills,
            "faults": self._faults(),
            "missed": sum(bool(struck.missed) for struck in self.strikes),
            "operations": self.operations,
            "money_requests": len(self.journal.intents),
            "acknowledged": self._acknowledged(),
            "unanswered": self._unanswered(),
            "silent": self.journal.silences,
            "bank_reads": self.bank_reads,
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
        """For a person."""
        yield (
            f"{self.kills} kills and {len(self.strikes) - self.kills} other faults in "
            f"{self.minutes:g} min; {self.operations} requests, {self._acknowledged()} "
            f"acknowledged, {self._unanswered()} without an answer; {self.bank_reads} reads of "
            f"the bank, {self.deliveries} webhooks."
        )
        for name, found in self.counts.items():
            yield f"{len(found):>6}  {name.replace('_', ' ')}"
            yield from (f"        {sentence}" for sentence in found[:SHOWN])
        before, after = self.liveness.before, self.liveness.after
        yield (
            f"Before: {before.success:.2%}, p99 {before.p99_s * 1000:.0f} ms. After healing: "
            f"{after.success:.2%}, p99 {after.p99_s * 1000:.0f} ms."
        )
        yield from (f"        {fault}" for fault in self.liveness.faults)
        if self.ok and self.bound is not None:
            yield (
                f"Nothing lost in {self.kills} kills: with 95 % confidence a kill loses something "
                f"in less than {self.bound:.1%} of cases (3/n)."
            )
        if not self.ok:
            yield f"FAILED. The journal and the logs are in {self.folder}"
        yield f"Seed {self.seed}: the same faults again with --seed {self.seed}."

    def _faults(self) -> dict[str, int]:
        return dict(Counter(s.strike.fault.value for s in self.strikes if not s.missed))

    def _acknowledged(self) -> int:
        intents = self.journal.intents
        return sum(any(answer.status < 300 for answer in intent.answers) for intent in intents)

    def _unanswered(self) -> int:
        return sum(told.answer is None for intent in self.journal.intents for told in intent.told)


def commit() -> str | None:
    """Of the tree that this file is in; None outside of one."""
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
