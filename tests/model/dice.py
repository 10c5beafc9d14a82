"""Choices by a seed, in the proportions of a busy wallet."""

from collections.abc import Sequence
from random import Random
from typing import Final
from uuid import UUID

from tests.model.ledger import LIMIT

LARGE: Final = [1, 60, LIMIT - 1, LIMIT]
PAIRS: Final = [
    *[("ann", "ben"), ("ben", "ann")] * 6,
    ("ann", "cas"), ("cas", "ben"), ("ann", "dee"), ("ben", "ben"), ("dee", "ann"),
]  # fmt: skip


class Dice:
    """The choices of one rule. Hypothesis chooses the seed, so that a failure repeats."""

    def __init__(self, seed: int, step: int) -> None:
        self._random = Random(f"{seed} {step}")

    def pair(self) -> tuple[str, str]:
        return self._random.choice(PAIRS)

    def key(self) -> str:
        """Mostly a new one."""
        return self._random.choice(
            ["k1", "k2", *[str(UUID(int=self._random.getrandbits(128)))] * 8]
        )

    def amount(self) -> int:
        return self._random.randint(1, 20) if self.chance(0.8) else self._random.choice(LARGE)

    def some(self) -> int | None:
        """An amount, or all that is left."""
        if self.chance(0.3):
            return None
        return self._random.randint(1, 20) if self.chance(0.95) else 10**6

    def last(self, known: Sequence[object]) -> int:
        """A position, mostly one of the last."""
        back = self._random.choice([0, 0, 0, 1, 1, 2, 3, len(known)])
        return max(0, len(known) - 1 - back)

    def name(self, usual: str) -> str:
        """Mostly who may do it."""
        return self._random.choice([*[usual] * 16, "ann", "ben", "cas", "dee"])

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def seed(self) -> int:
        return self._random.getrandbits(32)

    def number(self, most: int) -> int:
        return self._random.randint(1, most)
