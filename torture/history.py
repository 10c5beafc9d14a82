"""What was asked and what was answered, written down before and after: the clients' side.

An intent is one body under one key. Two intents may share a key (a re-send with a changed body);
the ledger may do one of them at most. Each item of an intent carries a mark of its own as the
transaction's description, so that effects are found without trusting the ledger's own bookkeeping.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from finpay.errors import Code
from torture.raw_http import Answer

TRANSFERS: Final = "/api/v1/transactions"
BATCHES: Final = "/api/v1/transactions/batch"

# Answers that nobody can use: told to come back later, or a bug.
_NO_SUCCESS: Final = frozenset({409, 429, 500, 503})


@dataclass(frozen=True, slots=True)
class Item:
    """One transfer that is asked for. `mark` is its description, and nobody else's."""

    mark: str
    receiver: str
    amount: int
    currency: str | None = None

    def members(self) -> dict[str, Any]:
        members = {"receiver_id": self.receiver, "amount": self.amount, "description": self.mark}
        return members | ({"currency": self.currency} if self.currency else {})


@dataclass(frozen=True, slots=True)
class Told:
    """One try of an intent: the answer, or None and why there was none."""

    at_s: float
    took_s: float
    answer: Answer | None
    why: str = ""


@dataclass(slots=True)
class Intent:
    """One body under one key of one wallet, and all that was answered to it.

    `refusals` are the codes that the contract allows as an answer to it; `may_succeed` is False
    where the contract demands a refusal.
    """

    key: str
    wallet: int
    path: str
    items: tuple[Item, ...]
    body: bytes
    refusals: frozenset[Code]
    may_succeed: bool = True
    mode: str = ""  # of a batch
    journalled: bool = False
    told: list[Told] = field(default_factory=list)

    @property
    def answers(self) -> list[Answer]:
        """All that were given, in the order in which they came."""
        return [told.answer for told in self.told if told.answer is not None]


@dataclass(frozen=True, slots=True)
class Read:
    """One balance or history that was read: nothing of it is kept but what has to hold."""

    path: str
    wallet: int


@dataclass(frozen=True, slots=True)
class Sample:
    """How one request fared, for the figures. `ok`: answered, and not told to come back later."""

    at_s: float
    took_s: float
    ok: bool


class Journal:
    """In memory for the verdict, and as lines of JSON in `path` for the reader."""

    def __init__(self, path: Path) -> None:
        self.intents: list[Intent] = []
        self.by_key: defaultdict[str, list[Intent]] = defaultdict(list)
        self.samples: list[Sample] = []
        self.strange: list[str] = []  # answers that the contract does not know
        self.impossible: list[str] = []  # balances that can't be
        self.silences = 0
        self._file = path.open("wb")

    def intend(self, intent: Intent) -> None:
        """Before the first byte is sent."""
        intent.journalled = True
        self.intents.append(intent)
        self.by_key[intent.key].append(intent)
        self._write(asks=intent.key, wallet=intent.wallet, body=intent.body.decode())

    def tell(self, intent: Intent, told: Told) -> None:
        """When the answer came, or it was clear that none will."""
        intent.told.append(told)
        self.sample(told)
        answer = told.answer
        self._write(
            answers=intent.key,
            mark=intent.items[0].mark,
            status=answer.status if answer else 0,
            answer=answer.body.decode(errors="replace") if answer else told.why,
        )

    def sample(self, told: Told) -> None:
        ok = told.answer is not None and told.answer.status not in _NO_SUCCESS
        self.samples.append(Sample(told.at_s, told.took_s, ok))
        if told.why == "TimeoutError":
            self.silences += 1

    def note(self, what: str, **members: object) -> None:
        """A line for the reader: a fault, a phase."""
        self._write(note=what, **members)

    def close(self) -> None:
        self._file.close()

    def _write(self, **members: object) -> None:
        self._file.write(msgspec.json.encode({"at_s": round(time.monotonic(), 4)} | members))
        self._file.write(b"\n")
