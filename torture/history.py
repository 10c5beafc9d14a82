"""The clients' side of a run: every request before it is sent, and every answer.

A money request is one body under one key, or an operation without a key. Two of them may share a
key (a resend with a changed body); the ledger may carry out one of them at most. Each item has a
mark, which is its transaction's description, so that its effect is found without the ledger's own
bookkeeping.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from finpay.errors import Code
from tests.support.raw_http import Response
from torture.operations import Operation

TRANSFERS: Final = "/api/v1/transactions"
BATCHES: Final = "/api/v1/transactions/batch"

# Answers that count as failed requests: retry later, or a bug. Another 409 is a decision.
_UNSUCCESSFUL: Final = frozenset({429, 500, 503})


@dataclass(frozen=True, slots=True)
class Item:
    """One requested transfer. `mark` is its description, unique in the run."""

    mark: str
    receiver: str
    amount: int
    currency: str | None = None

    def members(self) -> dict[str, Any]:
        members = {"receiver_id": self.receiver, "amount": self.amount, "description": self.mark}
        return members | ({"currency": self.currency} if self.currency else {})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a request: the response, or None and the reason."""

    at_s: float
    took_s: float
    response: Response | None
    reason: str = ""


@dataclass(slots=True)
class MoneyRequest:
    """One body under one key of one caller, a wallet or an operator, with all its attempts.

    `refusals` are the codes that the contract allows as an answer; `may_succeed` is False where
    the contract demands a refusal.
    """

    key: str
    wallet: int
    path: str
    items: tuple[Item, ...]
    body: bytes
    refusals: frozenset[Code]
    may_succeed: bool = True
    mode: str = ""  # of a batch
    operation: Operation | None = None  # then there are no items
    has_key: bool = True
    recorded: bool = False
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def mark(self) -> str:
        """That of its first item, or of its operation."""
        return self.operation.mark if self.operation is not None else self.items[0].mark

    @property
    def responses(self) -> list[Response]:
        """In the order in which they came."""
        return [attempt.response for attempt in self.attempts if attempt.response is not None]


@dataclass(frozen=True, slots=True)
class Read:
    """A read of one balance or one page of transactions. Its answer is checked, not kept."""

    path: str
    wallet: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The duration of one attempt. `ok`: answered, and not with an answer to retry later."""

    at_s: float
    took_s: float
    ok: bool


class History:
    """In memory for the checker, and in `path` as lines of JSON for a person."""

    def __init__(self, path: Path) -> None:
        self.requests: list[MoneyRequest] = []
        self.by_key: defaultdict[str, list[MoneyRequest]] = defaultdict(list)
        self.samples: list[Sample] = []
        self.undocumented_answers: list[str] = []
        self.impossible_reads: list[str] = []
        self.timeouts = 0
        self.deposits = 0  # the sum of the amounts that operators wanted to bring in
        self._file = path.open("wb")

    def add_request(self, request: MoneyRequest) -> None:
        """Before its first byte is sent."""
        request.recorded = True
        self.requests.append(request)
        self.by_key[request.key].append(request)
        made = request.operation
        if made is not None and made.kind == "deposit":
            self.deposits += made.amount or 0
        self._write(request=request.key, wallet=request.wallet, body=request.body.decode())

    def add_attempt(self, request: MoneyRequest, attempt: Attempt) -> None:
        """After the response, or the failure of the attempt."""
        request.attempts.append(attempt)
        self.add_sample(attempt)
        response = attempt.response
        self._write(
            response=request.key,
            mark=request.mark,
            status=response.status if response else 0,
            body=response.body.decode(errors="replace") if response else attempt.reason,
        )

    def add_sample(self, attempt: Attempt) -> None:
        response = attempt.response
        ok = (
            response is not None
            and response.status not in _UNSUCCESSFUL
            and response.code != Code.REQUEST_IN_PROGRESS
        )
        self.samples.append(Sample(attempt.at_s, attempt.took_s, ok))
        if attempt.reason == "TimeoutError":
            self.timeouts += 1

    def close(self) -> None:
        self._file.close()

    def _write(self, **members: object) -> None:
        self._file.write(msgspec.json.encode({"at_s": round(time.monotonic(), 4)} | members))
        self._file.write(b"\n")
