"""Random holds, refunds, withdrawals and limits among transfers."""

import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from finpay.ledger import holds, operator_commands
from finpay.ledger.posting import Operation, Transfer, TransferBatch
from tests.model.dice import Dice
from tests.model.ledger import Request
from tests.model.objects import Operate
from tests.model.operations import OperationsLedger
from tests.model.test_state_machine import NAMES, LedgerMachine
from tests.sql.hold_fixtures import end_holds
from tests.sql.ledger_fixtures import fresh_key, operation

SEEDS: Final = st.integers(0, 2**32)


class OperationsMachine(LedgerMachine):
    """Operations through the batcher. Positions in the model's lists are those of the ids here."""

    def __init__(self) -> None:
        super().__init__()
        self.model: OperationsLedger = OperationsLedger()
        self.hold_ids: list[UUID] = []
        self.withdrawal_ids: list[UUID] = []
        self.payment_ids: list[UUID] = []
        self.step = 0

    def dice(self, seed: int) -> Dice:
        """Other ones for each step, as Hypothesis repeats its seeds."""
        self.step += 1
        return Dice(seed, self.step)

    @initialize()
    def open(self) -> None:
        super().open()
        self.fund("ben", 100)

    @rule(name=NAMES, seed=SEEDS)
    def set_status(self, name: str, seed: int) -> None:
        super().set_status(name, frozen=self.dice(seed).chance(0.2))

    @rule(seed=SEEDS)
    def hold(self, seed: int) -> None:
        """Holds, and at once what becomes of the last ones."""
        dice = self.dice(seed)
        made = []
        for _ in range(dice.number(3)):
            sender, receiver = dice.pair()
            made.append(Operate(sender, dice.key(), "hold", receiver, amount=dice.amount()))
        self.operate(made)
        self.change_holds(seed + 1)

    @rule(seed=SEEDS)
    def withdraw(self, seed: int) -> None:
        dice = self.dice(seed)
        amount, owner = dice.amount(), dice.pair()[0]
        self.operate([Operate(owner, dice.key(), "withdrawal", amount=amount)])
        if dice.chance(0.5):
            self.cancel(seed + 1)

    @rule(seed=SEEDS)
    def change_holds(self, seed: int) -> None:
        """Captures and voids, mostly by the receiver, several at once, among transfers."""
        dice = self.dice(seed)
        requests: list[Operate | Request] = []
        for _ in range(dice.number(4) if self.model.holds else 0):
            target = dice.last(self.model.holds)
            caller = dice.name(self.model.holds[target].receiver)
            if dice.chance(0.3):
                requests.append(Operate(caller, dice.key(), "void", target=target))
            else:
                amount, final = dice.some(), dice.chance(0.5)
                requests.append(
                    Operate(caller, dice.key(), "capture", "", target, amount, final=final)
                )
            if dice.chance(0.3):
                sender, receiver = dice.pair()
                requests.append(Request(sender, dice.key(), receiver, dice.amount()))
        self.operate(requests)

    @rule(seed=SEEDS)
    def refund(self, seed: int) -> None:
        """Refunds, mostly by who was paid, several at once."""
        dice = self.dice(seed)
        requests = []
        for _ in range(dice.number(4) if self.model.payments else 0):
            target = dice.last(self.model.payments)
            caller = dice.name(self.model.payments[target].receiver)
            made = Operate(caller, dice.key(), "refund", target=target, amount=dice.some())
            requests.append(made)
        self.operate(requests)

    @rule(seed=SEEDS)
    def cancel(self, seed: int) -> None:
        dice = self.dice(seed)
        requests = []
        for _ in range(dice.number(2) if self.model.withdrawals else 0):
            target = dice.last(self.model.withdrawals)
            caller = dice.name(self.model.withdrawals[target].owner)
            requests.append(Operate(caller, dice.key(), "cancel", target=target))
        self.operate(requests)

    @rule(seed=SEEDS)
    def end_hold(self, seed: int) -> None:
        """Its time is over. It stays overdue only where no daily limit counts it."""
        dice = self.dice(seed)
        if not self.model.holds:
            return
        number = dice.last(self.model.holds)
        self.environment.do(end_holds(self.environment.bank, self.hold_ids[number]))
        self.model.end_hold(number)
        sender = self.model.accounts[self.model.holds[number].sender]
        if dice.chance(0.4) or sender.limit_daily is not None:
            self.expire()

    @rule()
    def expire(self) -> None:
        self.environment.do(holds.expire(self.environment.bank.app, lambda: None))
        self.model.expire()

    @rule(name=NAMES, seed=SEEDS)
    def set_limits(self, name: str, seed: int) -> None:
        self.expire()
        dice = self.dice(seed)
        single, daily = (
            (dice.number(30) if dice.chance(0.3) else None),
            (50 * dice.number(4) if dice.chance(0.3) else None),
        )
        account, target = self.model.accounts[name], self.holders[name].public_id
        self.environment.do(
            operator_commands.set_limits(
                self.environment.bank.owner, target, single, daily, key=fresh_key()
            )
        )
        account.limit_single, account.limit_daily = single, daily

    @invariant()
    def held_amounts_agree(self) -> None:
        """Money of a hold whose time is over may stay on hold until a worker comes."""
        for name, account in self.model.accounts.items():
            found = self.environment.do(self.environment.bank.account(self.holders[name]))
            overdue = self.model.overdue(name)
            assert account.held <= found["held"] <= account.held + overdue, name
            if not overdue:
                assert (found["held"], found["sent_today"]) == (account.held, account.sent), name
            assert self.environment.do(self.held_now(name)) == found["held"], "the last record"

    async def held_now(self, name: str) -> int:
        """As a balance at this moment has it, from what was recorded of the past."""
        row = await self.environment.bank.row(
            "SELECT ledger.held_at(id, clock_timestamp(), version) AS held "
            "FROM ledger.accounts WHERE id = $1",
            self.holders[name].account_id,
        )
        return int(row["held"])

    def teardown(self) -> None:
        self.expire()
        self.held_amounts_agree()
        super().teardown()

    def operate(self, requests: Sequence[Operate | Request]) -> None:
        """Posts all at once, so that they share a commit batch; the model one by one."""
        postings = [self.operation(request) for request in requests]
        results = self.environment.do(self.post_concurrently(postings))
        for request, made, result in zip(requests, postings, results, strict=True):
            if isinstance(request, Request):
                outcome = self.model.post(request)
            else:
                outcome = self.model.operate(request)
            assert result.outcome == outcome, request
            first = self.first_results.setdefault((request.sender, request.key), result)
            assert (result.http_status, result.answer) == (first.http_status, first.answer)
            self.note(request, made, outcome)

    def operation(self, request: Operate | Request) -> Transfer | TransferBatch | Operation:
        if isinstance(request, Request):
            return self.posting(request, by_email=False)
        known = {"refund": self.payment_ids, "cancel": self.withdrawal_ids}.get(
            request.kind, self.hold_ids
        )
        is_new = request.kind in {"hold", "withdrawal"}
        return operation(
            request.kind,
            self.holders[request.sender],
            key=request.key,
            fingerprint=hashlib.sha256(repr(request).encode()).digest(),
            receiver_id=self.holders[request.receiver].account_id if request.receiver else None,
            amount=request.amount,
            final=request.final if request.kind == "capture" else None,
            target=None if is_new else known[request.target],
            expires_in_s=600 if request.kind == "hold" else None,
        )

    def note(
        self,
        request: Operate | Request,
        made: Transfer | TransferBatch | Operation,
        outcome: str,
    ) -> None:
        """The id of what was made, in the order of the model's lists."""
        if isinstance(made, Operation) and isinstance(request, Operate):
            self.environment.seen[f"{request.kind} {outcome}"] += 1
            lists = {"hold": self.hold_ids, "withdrawal": self.withdrawal_ids,
                     "capture": self.payment_ids}  # fmt: skip
            if outcome == "completed" and request.kind in lists:
                lists[request.kind].append(made.id)
        elif not isinstance(made, Operation):
            self.note_transfers(made, [outcome])

    def note_transfers(
        self, made: Transfer | TransferBatch, outcomes: Sequence[str | None]
    ) -> None:
        made_ids = [made.id] if isinstance(made, Transfer) else [item.id for item in made.items]
        self.payment_ids += [
            made_id
            for made_id, outcome in zip(made_ids, outcomes, strict=True)
            if outcome == "completed"
        ]
