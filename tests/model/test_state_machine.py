"""Random runs of the ledger in SQL, compared with the model in Python.

Transfers and transfer batches, alone and in commit batches, go through the batcher into a separate
database. After every step the balances agree; after every run the histories agree, and `ledger
verify` finds nothing.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs

from finpay.errors import FinPayError
from finpay.ledger import administration, posting, reads
from finpay.ledger.batcher import Batcher
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import PostingResult, Transfer, TransferBatch
from finpay.ledger.verify import verify
from tests.model import random_runs
from tests.model.ledger import LIMIT, Account, BatchRequest, Ledger, Request
from tests.sql.ledger_fixtures import (
    REFUSALS,
    Bank,
    Holder,
    fresh_key,
    item,
    transfer,
    transfer_batch,
)

RUNS: Final = 30  # some ten seconds

T = TypeVar("T")

OPENING: Final = {
    "ann": ("ZAR", 100),
    "ben": ("ZAR", 0),
    "cas": ("ZAR", LIMIT - 5),
    "dee": ("USD", 60),
}
NAMES: Final = st.sampled_from(list(OPENING))
AMOUNTS: Final = st.integers(1, 60) | st.sampled_from([1, 5, 6, LIMIT - 1, LIMIT])
REQUESTS: Final = st.builds(
    Request,
    sender=NAMES,
    key=st.sampled_from(["k1", "k2", "k3", "k4", "k5"]) | st.uuids().map(str),
    receiver=NAMES | st.just("unknown"),
    amount=AMOUNTS,
    currency=st.sampled_from([None, None, None, "ZAR", "USD"]),
)


BATCHES: Final = st.builds(
    lambda first, more, atomic: BatchRequest(
        first.sender,
        first.key,
        tuple(replace(item, sender=first.sender, key=first.key) for item in (first, *more)),
        atomic,
    ),
    REQUESTS,
    st.lists(REQUESTS, max_size=5),
    st.booleans(),
)


class Environment:
    """One database and one event loop for all runs."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.seen: Counter[str] = Counter()
        self.bank, self.batcher = self.do(self._open(url))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _open(self, url: str) -> tuple[Bank, Batcher]:
        bank = Bank(url)
        return bank, Batcher(bank.app, REFUSALS)

    def close(self) -> None:
        self.do(self.bank.close())
        self.runner.close()


class LedgerMachine(RuleBasedStateMachine):
    """Four accounts, and the operations on them that hypothesis chooses from."""

    environment: ClassVar[Environment]

    def __init__(self) -> None:
        super().__init__()
        self.model = Ledger()
        self.holders: dict[str, Holder] = {}
        self.first_results: dict[tuple[str, str], PostingResult] = {}

    @initialize()
    def open(self) -> None:
        for name, (currency, balance) in OPENING.items():
            self.holders[name] = self.environment.do(self.environment.bank.open(currency=currency))
            self.model.accounts[name] = Account(currency)
            if balance:
                self.fund(name, balance)

    @rule(request=REQUESTS, by_email=st.booleans())
    def send(self, request: Request, *, by_email: bool) -> None:
        self.post([request], by_email=by_email)

    @rule(requests=st.lists(REQUESTS, min_size=2, max_size=12), by_email=st.booleans())
    def send_concurrently(self, requests: list[Request], *, by_email: bool) -> None:
        self.post(requests, by_email=by_email)

    @rule(batch=BATCHES, others=st.lists(REQUESTS | BATCHES, max_size=3), by_email=st.booleans())
    def send_batch(
        self, batch: BatchRequest, others: list[Request | BatchRequest], *, by_email: bool
    ) -> None:
        self.post([*others[:1], batch, *others[1:]], by_email=by_email)

    @rule(data=st.data(), times=st.integers(1, 3), by_email=st.booleans())
    def retry(self, data: st.DataObject, times: int, *, by_email: bool) -> None:
        """Repeats a request that has its outcome, once or several times at once."""
        if self.model.keys:
            request, _ = data.draw(st.sampled_from(list(self.model.keys.values())))
            self.post([request] * times, by_email=by_email)

    @rule(name=NAMES, frozen=st.booleans())
    def set_status(self, name: str, *, frozen: bool) -> None:
        status: administration.Status = "frozen" if frozen else "active"
        target = self.holders[name].public_id
        self.environment.do(
            administration.set_status(
                self.environment.bank.owner, target, status, "model", fresh_key()
            )
        )
        self.model.accounts[name].frozen = frozen

    @rule(name=NAMES, amount=AMOUNTS)
    def fund(self, name: str, amount: int) -> None:
        try:
            self.environment.do(self.environment.bank.fund(self.holders[name], amount))
            funded = True
        except FinPayError:
            funded = False
        assert funded is self.model.fund(name, amount)

    @invariant()
    def balances_agree(self) -> None:
        assert {name: self.environment.do(self.environment.bank.balance(holder))
                for name, holder in self.holders.items()} \
            == {name: account.balance for name, account in self.model.accounts.items()}  # fmt: skip

    def teardown(self) -> None:
        for name, account in self.model.accounts.items():
            assert self.history(self.holders[name]) == account.history
        report = self.environment.do(verify(self.environment.bank.owner))
        assert report.ok, [check for check in report.checks if not check.ok]

    def post(self, requests: Sequence[Request | BatchRequest], *, by_email: bool) -> None:
        """Posts all at once, so that they share a commit batch; the model posts one by one."""
        postings = [self.posting(request, by_email=by_email) for request in requests]
        results = self.environment.do(self.post_concurrently(postings))
        for request, made, result in zip(requests, postings, results, strict=True):
            if isinstance(request, BatchRequest):
                outcome, items = self.model.post_batch(request)
                assert result.items == items
                self.environment.seen.update(f"batch item {item}" for item in items)
            else:
                outcome = self.model.post(request)
                items = [outcome]
            assert result.outcome == outcome
            self.environment.seen[outcome] += 1
            self.note_transfers(made, items)
        for request, result in zip(requests, results, strict=True):
            first = self.first_results.setdefault((request.sender, request.key), result)
            assert (result.http_status, result.answer) == (first.http_status, first.answer)
            assert result.fingerprint == first.fingerprint

    def note_transfers(
        self, made: Transfer | TransferBatch, outcomes: Sequence[str | None]
    ) -> None:
        """For machines that refund them."""

    async def post_concurrently(self, postings: Sequence[posting.Posting]) -> list[PostingResult]:
        return await asyncio.gather(*map(self.environment.batcher.post, postings))

    def posting(
        self, request: Request | BatchRequest, *, by_email: bool
    ) -> Transfer | TransferBatch:
        if isinstance(request, Request):
            return self.transfer(request, by_email=by_email)
        transfers = [self.transfer(each, by_email=by_email) for each in request.items]
        return transfer_batch(
            self.holders[request.sender],
            *(
                item(
                    self.holders[request.sender],
                    each.amount,
                    receiver_id=each.receiver_id,
                    receiver_email=each.receiver_email,
                    currency=each.currency,
                )
                for each in transfers
            ),
            mode="atomic" if request.atomic else "independent",
            key=request.key,
            fingerprint=hashlib.sha256(repr(request).encode()).digest(),
        )

    def transfer(self, request: Request, *, by_email: bool) -> Transfer:
        receiver = self.holders.get(request.receiver)
        unknown = Holder(self.holders["ann"].user_id, self.holders["ann"].user_id, "no@example.com")
        made = transfer(
            self.holders[request.sender],
            receiver or unknown,
            request.amount,
            key=request.key,
            currency=request.currency,
            fingerprint=hashlib.sha256(repr(request).encode()).digest(),
        )
        if by_email:
            made = structs.replace(
                made, receiver_id=None, receiver_email=(receiver or unknown).email
            )
        return made

    def history(self, holder: Holder) -> list[tuple[str, int, int]]:
        """As the API's reads return it, but oldest first."""
        found = self.environment.do(
            reads.history(
                self.environment.bank.app,
                holder.user_id,
                holder.account_id,
                before=reads.HistoryPosition(),
                filters=reads.Filters(),
                limit=10_000,
            )
        )
        return [
            (
                "failed" if step.status == "failed"
                else "sent" if step.sender_id == holder.account_id
                else "received",
                step.amount,
                step.balance_after,
            )
            for step in reversed(found.steps)
        ]  # fmt: skip


def test_random_operations_have_the_results_of_the_model(
    fresh_database: Callable[[], str],
) -> None:
    environment = Environment(fresh_database())
    try:
        machine = type("LedgerMachine", (LedgerMachine,), {"environment": environment})
        random_runs.run(machine, RUNS)
        # The rarest outcomes may be missing, but runs without these would test too little.
        assert set(environment.seen) >= {
            Outcome.COMPLETED, Outcome.DUPLICATE, Outcome.IDEMPOTENCY_KEY_REUSE,
            Outcome.INSUFFICIENT_FUNDS, Outcome.RECEIVER_NOT_FOUND,
            "batch item completed", "batch item insufficient_funds", "batch item None",
        }  # fmt: skip
    finally:
        environment.close()
