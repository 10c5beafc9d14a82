"""The model of holds, refunds, withdrawals, requests and schedules, on that of transfers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.model.ledger import LIMIT, Account, BatchRequest, Ledger, Request
from tests.model.objects import (
    Hold,
    Kind,
    Operate,
    Payment,
    PaymentRequest,
    Schedule,
    Withdrawal,
)

MAX_FAILURES: Final = 3  # of a schedule in a row, then it is paused


@dataclass
class OperationsLedger(Ledger):
    """The ledger with everything that a wallet can do. Lists keep the order of creation."""

    holds: list[Hold] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    requests: list[PaymentRequest] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    operations: dict[tuple[str, str], tuple[Operate, str]] = field(default_factory=dict)

    def operate(self, request: Operate) -> str:
        """The outcome, in the order of precedence. Keys are those of transfers too."""
        owned_key = request.sender, request.key
        if owned_key in self.operations:
            known = self.operations[owned_key][0] == request
            return "duplicate" if known else "idempotency_key_reuse"
        if owned_key in self.keys:
            return "idempotency_key_reuse"
        kinds: dict[Kind, Callable[[Operate], str]] = {
            "hold": self._hold,
            "capture": self._capture,
            "void": self._void,
            "refund": self._refund,
            "withdrawal": self._withdraw,
            "cancel": self._cancel,
        }
        outcome = kinds[request.kind](request)
        self.operations[owned_key] = request, outcome
        return outcome

    def post(self, request: Request) -> str:
        if (request.sender, request.key) in self.operations:
            return "idempotency_key_reuse"
        return super().post(request)

    def post_batch(self, batch: BatchRequest) -> tuple[str, list[str | None]]:
        if (batch.sender, batch.key) in self.operations:
            return "idempotency_key_reuse", [None] * len(batch.items)
        before = len(self.payments)
        outcome, items = super().post_batch(batch)
        if batch.atomic and outcome != "completed":
            del self.payments[before:]
        return outcome, items

    def _hold(self, request: Operate) -> str:
        amount = request.amount or 0
        receiver = self.accounts.get(request.receiver)
        # Only a capture can pass the limit of a balance.
        party, balance = receiver or Account(), receiver.balance if receiver else 0
        party.balance = 0
        outcome = self._decide(Request(request.sender, request.key, request.receiver, amount))
        party.balance = balance
        if outcome == "completed":
            self._reserve(request.sender, amount)
            self.holds.append(Hold(request.sender, request.receiver, amount))
        return outcome

    def _capture(self, request: Operate) -> str:
        hold = self.holds[request.target]
        amount = hold.remaining if request.amount is None else request.amount
        receiver = self.accounts[hold.receiver]
        outcome = self._refusal_of_hold(hold, request.sender)
        if outcome in {"not_found", "forbidden"}:
            return outcome
        if receiver.frozen:
            return "account_frozen"
        if outcome:
            return outcome
        if self.accounts[hold.sender].frozen:
            return "sender_unavailable"
        if amount > hold.remaining:
            return "amount_too_large"
        if receiver.balance + amount > LIMIT:
            return "balance_limit"
        rest = hold.remaining - amount
        hold.captured += amount
        released = amount + rest if request.final else amount
        self.accounts[hold.sender].held -= released
        self.accounts[hold.sender].sent -= released - amount
        hold.status = "captured" if released == amount + rest else "open"
        self.accounts[hold.sender].move("sent", -amount)
        receiver.move("received", amount)
        self.payments.append(Payment(hold.sender, hold.receiver, amount))
        return "completed"

    def _void(self, request: Operate) -> str:
        hold = self.holds[request.target]
        outcome = self._refusal_of_hold(hold, request.sender)
        if not outcome:
            self._release(hold.sender, hold.remaining)
            hold.status = "voided"
        return outcome or "completed"

    def _refusal_of_hold(self, hold: Hold, caller: str) -> str:
        if caller not in {hold.sender, hold.receiver}:
            return "not_found"
        if caller == hold.sender:
            return "forbidden"
        return "" if hold.status == "open" and not hold.is_over else "hold_not_open"

    def _refund(self, request: Operate) -> str:
        payment = self.payments[request.target]
        remaining = payment.amount - payment.refunded
        amount = remaining if request.amount is None else request.amount
        if request.sender not in {payment.sender, payment.receiver}:
            return "not_found"
        if request.sender == payment.sender:
            return "forbidden"
        caller, payer = self.accounts[payment.receiver], self.accounts[payment.sender]
        if caller.frozen:
            return "account_frozen"
        if payer.frozen:
            return "receiver_unavailable"
        if amount > remaining or not remaining:
            return "amount_too_large"
        if amount > caller.available:
            caller.history.append(("failed", amount, caller.balance))
            return "insufficient_funds"
        if payer.balance + amount > LIMIT:
            return "balance_limit"
        payment.refunded += amount
        caller.move("sent", -amount)
        payer.move("received", amount)
        return "completed"

    def _withdraw(self, request: Operate) -> str:
        owner, amount = self.accounts[request.sender], request.amount or 0
        if owner.frozen:
            return "account_frozen"
        if owner.is_over_limit(amount):
            return "limit_exceeded"
        if amount > owner.available:
            return "insufficient_funds"
        self._reserve(request.sender, amount)
        self.withdrawals.append(Withdrawal(request.sender, amount))
        return "completed"

    def _cancel(self, request: Operate) -> str:
        withdrawal = self.withdrawals[request.target]
        if withdrawal.owner != request.sender:
            return "not_found"
        if withdrawal.status != "pending":
            return "withdrawal_not_pending"
        self._release(withdrawal.owner, withdrawal.amount)
        withdrawal.status = "canceled"
        return "completed"

    def _reserve(self, name: str, amount: int) -> None:
        self.accounts[name].held += amount
        self.accounts[name].sent += amount

    def _release(self, name: str, amount: int) -> None:
        self.accounts[name].held -= amount
        self.accounts[name].sent -= amount

    def _execute(self, request: Request) -> str:
        outcome = super()._execute(request)
        if outcome == "completed":
            self.payments.append(Payment(request.sender, request.receiver, request.amount))
        return outcome

    def end_hold(self, number: int) -> None:
        """Its time is over: nothing can be captured, and its money is the sender's again."""
        hold = self.holds[number]
        if hold.status == "open" and not hold.is_over:
            hold.is_over = True
            self._release(hold.sender, hold.remaining)

    def expire(self) -> None:
        """What a worker does to holds whose time is over."""
        for hold in self.holds:
            if hold.is_over:
                hold.status = "expired"

    def overdue(self, name: str) -> int:
        """What the account may still have on hold until a worker comes."""
        return sum(
            hold.remaining
            for hold in self.holds
            if hold.sender == name and hold.is_over and hold.status == "open"
        )

    def pay(self, number: int, payer: str) -> str:
        """A payment of a request, under a key of its own."""
        asked = self.requests[number]
        if asked.requester == payer:
            return "forbidden"
        if asked.payer is not None and asked.payer != payer:
            return "not_found"
        if not self.accounts[payer].frozen and asked.status != "open":
            return "request_not_open"
        currency = self.accounts[asked.requester].currency
        outcome = self._execute(Request(payer, "", asked.requester, asked.amount, currency))
        if outcome == "completed":
            asked.status, asked.paid_by = "paid", payer
        return outcome

    def end_request(self, number: int, caller: str, status: str) -> str:
        """A cancellation by the requester, or a decline by the named payer. Who paid a request that
        anyone may pay is its other side."""
        asked = self.requests[number]
        if caller not in {asked.requester, asked.payer, asked.paid_by}:
            return "not_found"
        usual = asked.requester if status == "canceled" else asked.payer
        if caller != usual:
            return "forbidden"
        if asked.status != "open":
            return "request_not_open"
        asked.status = status
        return "completed"

    def end_time_of_request(self, number: int) -> None:
        """Expired from now on for its parties; the worker writes it later."""
        asked = self.requests[number]
        if asked.status == "open":
            asked.status, asked.is_overdue = "expired", True

    def expire_requests(self) -> int:
        """What the worker does. Returns the number of requests."""
        overdue = [asked for asked in self.requests if asked.is_overdue]
        for asked in overdue:
            asked.is_overdue = False
        return len(overdue)

    def run_schedules(self) -> int:
        """All occurrences that are due, round by round, the longest due first."""
        done = 0
        while due := [one for one in self.schedules if one.status == "active" and one.due_days > 0]:
            for schedule in sorted(due, key=lambda one: -one.due_days):
                self._run(schedule)
                done += 1
        return done

    def _run(self, schedule: Schedule) -> None:
        sender = self.accounts[schedule.sender]
        request = Request(schedule.sender, "", schedule.receiver, schedule.amount, sender.currency)
        failed = super()._execute(request) != "completed"
        schedule.runs += 1
        schedule.failures = schedule.failures + 1 if failed else 0
        schedule.due_days -= 1
        if not schedule.is_daily:
            schedule.status = "ended"
        elif schedule.failures == MAX_FAILURES:
            schedule.status = "paused"
