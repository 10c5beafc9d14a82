"""Random payment requests and schedules among holds, refunds, withdrawals and transfers."""

from typing import Literal
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import rule

from finpay.ledger import payment_requests
from tests.model.dice import Dice
from tests.model.objects import PaymentRequest, Schedule
from tests.model.operations_machine import SEEDS, OperationsMachine
from tests.sql.ledger_fixtures import payment
from tests.sql.schedule_fixtures import DAILY, ask, end_requests, origin, plan, run_due


class WalletMachine(OperationsMachine):
    """All that a wallet can do."""

    def __init__(self) -> None:
        super().__init__()
        self.request_ids: list[UUID] = []

    @rule(seed=SEEDS)
    def be_busy(self, seed: int) -> None:
        """Several operations: what an operation is about has to be made first."""
        actions = [
            *[self.hold, self.change_holds, self.refund] * 3,
            *[self.withdraw, self.cancel, self.end_hold, self.ask, self.pay] * 2,
            self.plan,
            self.end_time_of_request,
        ]
        dice = self.dice(seed)
        for _ in range(4):
            actions[dice.number(len(actions)) - 1](dice.seed())

    @rule(seed=SEEDS)
    def ask(self, seed: int) -> None:
        dice = self.dice(seed)
        requester, named = dice.pair()
        if requester == named or self.model.accounts[requester].frozen:
            return
        payer = named if dice.chance(0.7) else None
        holder = None if payer is None else self.holders[payer]
        amount = dice.number(20)
        bank = self.environment.bank
        made = self.environment.do(ask(bank, self.holders[requester], holder, amount=amount))
        self.request_ids.append(made)
        self.model.requests.append(PaymentRequest(requester, payer, amount))
        if dice.chance(0.3):
            self.pay(seed + 1)
        elif dice.chance(0.3):
            self.end_time_of_request(seed + 2)

    @rule(seed=SEEDS)
    def pay(self, seed: int) -> None:
        dice = self.dice(seed)
        if not self.model.requests:
            return
        self._pay(dice.last(self.model.requests), dice)

    def _pay(self, number: int, dice: Dice) -> None:
        payer = dice.name(self.model.requests[number].payer or "ann")
        paying = payment(self.holders[payer], self.request_ids[number])
        (result,) = self.environment.do(self.environment.bank.post(paying))
        assert result.outcome == self.model.pay(number, payer)
        self.environment.seen[f"pay {result.outcome}"] += 1
        if result.outcome == "completed":
            self.payment_ids.append(paying.id)

    @rule(seed=SEEDS, status=st.sampled_from(["canceled", "declined"]))
    def end_request(self, seed: int, status: Literal["canceled", "declined"]) -> None:
        dice = self.dice(seed)
        if not self.model.requests:
            return
        self._end_request(dice.last(self.model.requests), status, dice)

    def _end_request(
        self, number: int, status: Literal["canceled", "declined"], dice: Dice
    ) -> None:
        asked = self.model.requests[number]
        caller = dice.name(asked.requester if status == "canceled" else asked.payer or "ann")
        by, bank = origin(self.holders[caller]), self.environment.bank
        result = self.environment.do(
            payment_requests.end(bank.app, by, self.request_ids[number], status, None)
        )
        assert result.outcome == self.model.end_request(number, caller, status)
        self.environment.seen[f"{status} {result.outcome}"] += 1

    @rule(seed=SEEDS)
    def end_time_of_request(self, seed: int) -> None:
        """It is over for its parties at once, whether or not a worker has written it."""
        dice = self.dice(seed)
        if not self.model.requests:
            return
        number = dice.last(self.model.requests)
        bank = self.environment.bank
        self.environment.do(end_requests(bank, self.request_ids[number]))
        self.model.end_time_of_request(number)
        if dice.chance(0.5):
            self.expire_requests()
        self._pay(number, dice)
        self._end_request(number, "canceled", dice)

    @rule()
    def expire_requests(self) -> None:
        ended = self.environment.do(payment_requests.expire(self.environment.bank.app, None))
        assert ended == self.model.expire_requests()
        self.environment.seen["request expired"] += ended

    @rule(seed=SEEDS)
    def plan(self, seed: int) -> None:
        """A schedule that was due some days ago, at another time than every other."""
        dice = self.dice(seed)
        sender, receiver = dice.pair()
        accounts = self.model.accounts
        fits = accounts[sender].currency == accounts[receiver].currency
        if sender == receiver or accounts[sender].frozen or not fits:
            return
        due_days = dice.number(4) - 0.1 - 0.001 * len(self.model.schedules)
        made = Schedule(sender, receiver, dice.amount(), due_days, dice.chance(0.5))
        self.environment.do(
            plan(
                self.environment.bank,
                self.holders[sender],
                self.holders[receiver],
                due_days=due_days,
                amount=made.amount,
                every=DAILY if made.is_daily else None,
            )
        )
        self.model.schedules.append(made)

    @rule()
    def run_schedules(self) -> None:
        runs = self.model.run_schedules()
        assert self.environment.do(run_due(self.environment.bank)) == runs
        self.environment.seen["schedule run"] += runs

    def teardown(self) -> None:
        self.run_schedules()
        self.expire_requests()
        super().teardown()
