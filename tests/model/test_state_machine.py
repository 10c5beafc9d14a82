"""Random lives of the ledger, in SQL and in ninety lines of Python, side by side.

Transfers and bulks of them, alone and in batches, go through the batcher into a database of their
own. After every step the balances agree, after every life the histories do, and `ledger verify`
finds nothing.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from finpay.errors import FinPayError
from finpay.ledger import administration, posting, reads
from finpay.ledger.batcher import Batcher
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import PostingResult, Transfer, TransferBatch
from finpay.ledger.verify import verify
from tests.model.ledger import LIMIT, Account, Ledger, Many, Request
from tests.sql.ledger_fixtures import REFUSALS, Bank, Holder, bulk, fresh_key, item, transfer

# Some ten seconds; MODEL_RUNS=2000 is for a night.
RUNS: Final = int(os.environ.get("MODEL_RUNS", "30"))
STEPS: Final = 25

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
    receiver=NAMES | st.just("nobody"),
    amount=AMOUNTS,
    currency=st.sampled_from([None, None, None, "ZAR", "USD"]),
)


BULKS: Final = st.builds(
    lambda first, more, atomic: Many(
        first.sender,
        first.key,
        tuple(replace(part, sender=first.sender, key=first.key) for part in (first, *more)),
        atomic,
    ),
    REQUESTS,
    st.lists(REQUESTS, max_size=5),
    st.booleans(),
)


class World:
    """One database and one event loop for all lives."""

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


class Life(RuleBasedStateMachine):
    """Four accounts and what may happen to them."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.model = Ledger()
        self.holders: dict[str, Holder] = {}
        self.answers: dict[tuple[str, str], PostingResult] = {}

    @initialize()
    def open(self) -> None:
        for name, (currency, balance) in OPENING.items():
            self.holders[name] = self.world.do(self.world.bank.open(currency=currency))
            self.model.accounts[name] = Account(currency)
            if balance:
                self.fund(name, balance)

    @rule(asked=REQUESTS, by_email=st.booleans())
    def send(self, asked: Request, *, by_email: bool) -> None:
        self.post([asked], by_email=by_email)

    @rule(batch=st.lists(REQUESTS, min_size=2, max_size=12), by_email=st.booleans())
    def send_together(self, batch: list[Request], *, by_email: bool) -> None:
        self.post(batch, by_email=by_email)

    @rule(many=BULKS, beside=st.lists(REQUESTS | BULKS, max_size=3), by_email=st.booleans())
    def send_bulk(self, many: Many, beside: list[Request | Many], *, by_email: bool) -> None:
        self.post([*beside[:1], many, *beside[1:]], by_email=by_email)

    @rule(data=st.data(), times=st.integers(1, 3), by_email=st.booleans())
    def send_again(self, data: st.DataObject, times: int, *, by_email: bool) -> None:
        """A request that was answered, alone or among others."""
        if self.model.keys:
            asked, _ = data.draw(st.sampled_from(list(self.model.keys.values())))
            self.post([asked] * times, by_email=by_email)

    @rule(name=NAMES, frozen=st.booleans())
    def set_status(self, name: str, *, frozen: bool) -> None:
        status: administration.Status = "frozen" if frozen else "active"
        target = self.holders[name].public_id
        self.world.do(
            administration.set_status(self.world.bank.owner, target, status, "model", fresh_key())
        )
        self.model.accounts[name].frozen = frozen

    @rule(name=NAMES, amount=AMOUNTS)
    def fund(self, name: str, amount: int) -> None:
        try:
            self.world.do(self.world.bank.fund(self.holders[name], amount))
            funded = True
        except FinPayError:
            funded = False
        assert funded is self.model.fund(name, amount)

    @invariant()
    def balances_agree(self) -> None:
        assert {name: self.world.do(self.world.bank.balance(holder))
                for name, holder in self.holders.items()} \
            == {name: account.balance for name, account in self.model.accounts.items()}  # fmt: skip

    def teardown(self) -> None:
        for name, account in self.model.accounts.items():
            assert self.history(self.holders[name]) == account.history
        report = self.world.do(verify(self.world.bank.owner))
        assert report.ok, [check for check in report.checks if not check.ok]

    def post(self, batch: Sequence[Request | Many], *, by_email: bool) -> None:
        """All at once, so that they share one batch; the model takes them one by one."""
        requests = [self.request(asked, by_email=by_email) for asked in batch]
        results = self.world.do(self.together(requests))
        for asked, result in zip(batch, results, strict=True):
            if isinstance(asked, Many):
                outcome, told = self.model.post_many(asked)
                assert result.items == told
                self.world.seen.update(f"bulk {one}" for one in told)
            else:
                outcome = self.model.post(asked)
            assert result.outcome == outcome
            self.world.seen[outcome] += 1
        for asked, result in zip(batch, results, strict=True):
            first = self.answers.setdefault((asked.sender, asked.key), result)
            assert (result.http_status, result.answer) == (first.http_status, first.answer)
            assert result.fingerprint == first.fingerprint

    async def together(self, requests: list[posting.Posting]) -> list[PostingResult]:
        return await asyncio.gather(*map(self.world.batcher.post, requests))

    def request(self, asked: Request | Many, *, by_email: bool) -> Transfer | TransferBatch:
        if isinstance(asked, Request):
            return self.item(asked, by_email=by_email)
        parts = [self.item(part, by_email=by_email) for part in asked.parts]
        return bulk(
            self.holders[asked.sender],
            *(
                item(
                    self.holders[asked.sender],
                    part.amount,
                    receiver_id=part.receiver_id,
                    receiver_email=part.receiver_email,
                    currency=part.currency,
                )
                for part in parts
            ),
            mode="atomic" if asked.atomic else "independent",
            key=asked.key,
            fingerprint=repr(asked).encode(),
        )

    def item(self, asked: Request, *, by_email: bool) -> Transfer:
        receiver = self.holders.get(asked.receiver)
        nobody = Holder(self.holders["ann"].user_id, self.holders["ann"].user_id, "no@example.com")
        item = transfer(
            self.holders[asked.sender],
            receiver or nobody,
            asked.amount,
            key=asked.key,
            currency=asked.currency,
            fingerprint=repr(asked).encode(),
        )
        if by_email:
            item = structs.replace(
                item, receiver_id=None, receiver_email=(receiver or nobody).email
            )
        return item

    def history(self, holder: Holder) -> list[tuple[str, int, int]]:
        """As the API's reads tell it, oldest first."""
        found = self.world.do(
            reads.history(
                self.world.bank.app,
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


def test_the_ledger_does_what_ninety_lines_of_python_do(fresh_database: Callable[[], str]) -> None:
    world = World(fresh_database())
    try:
        run_state_machine_as_test(
            type("Life", (Life,), {"world": world}),
            settings=settings(
                max_examples=RUNS,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        # Chance may leave out the rarest ones, but lives without these would show too little.
        assert set(world.seen) >= {
            Outcome.COMPLETED, Outcome.DUPLICATE, Outcome.IDEMPOTENCY_KEY_REUSE,
            Outcome.INSUFFICIENT_FUNDS, Outcome.RECEIVER_NOT_FOUND,
            "bulk completed", "bulk insufficient_funds", "bulk None",
        }  # fmt: skip
    finally:
        world.close()
