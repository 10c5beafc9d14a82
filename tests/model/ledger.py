"""A model of transfers in a hundred lines of Python: the rules, without SQL, locks and batches."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

LIMIT: Final = 2**53 - 1


@dataclass
class Account:
    """One user's account. `history` has all steps that its owner can see, oldest first.

    `held` is without holds whose time is over; `sent` is what counts in the daily limit.
    """

    currency: str = "ZAR"
    balance: int = 0
    held: int = 0
    sent: int = 0
    limit_single: int | None = None
    limit_daily: int | None = None
    frozen: bool = False
    history: list[tuple[str, int, int]] = field(default_factory=list)  # kind, amount, balance after

    @property
    def available(self) -> int:
        return self.balance - self.held

    def is_over_limit(self, amount: int) -> bool:
        """Whether a payment of the amount would exceed one of its limits."""
        limits = (self.limit_single, amount), (self.limit_daily, self.sent + amount)
        return any(limit is not None and used > limit for limit, used in limits)

    def move(self, kind: str, amount: int) -> None:
        self.balance += amount
        self.history.append((kind, abs(amount), self.balance))


@dataclass(frozen=True)
class Request:
    """A transfer as requested. `receiver` is a name, which need not have an account."""

    sender: str
    key: str
    receiver: str
    amount: int
    currency: str | None = None


@dataclass(frozen=True)
class BatchRequest:
    """A transfer batch as requested: items of one sender under one key."""

    sender: str
    key: str
    items: tuple[Request, ...]
    atomic: bool


@dataclass
class Ledger:
    """Accounts by name; the request and the outcome of each key of each sender."""

    accounts: dict[str, Account] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[Request | BatchRequest, str]] = field(default_factory=dict)

    def post(self, request: Request) -> str:
        """The outcome, in the order of precedence."""
        known = self._outcome_of_known_key(request)
        if known is not None:
            return known
        outcome = self._execute(request)
        self.keys[request.sender, request.key] = request, outcome
        return outcome

    def post_batch(self, batch: BatchRequest) -> tuple[str, list[str | None]]:
        """The outcome, and that of each item; None for an item not executed or reverted."""
        items: list[str | None] = [None] * len(batch.items)
        outcome = self._outcome_of_known_key(batch)
        if outcome is not None:
            return outcome, items
        outcome = "completed"
        before = deepcopy(self.accounts)
        for index, item in enumerate(batch.items):
            items[index] = result = self._execute(item)
            if batch.atomic and result != "completed":
                self.accounts, outcome = before, result
                items[:index] = [None] * index
                break
        self.keys[batch.sender, batch.key] = batch, outcome
        return outcome, items

    def _outcome_of_known_key(self, request: Request | BatchRequest) -> str | None:
        known = self.keys.get((request.sender, request.key))
        if known is None:
            return None
        return "duplicate" if known[0] == request else "idempotency_key_reuse"

    def _execute(self, request: Request) -> str:
        outcome = self._decide(request)
        if outcome == "completed":
            self.accounts[request.sender].sent += request.amount
            self.accounts[request.sender].move("sent", -request.amount)
            self.accounts[request.receiver].move("received", request.amount)
        elif outcome == "insufficient_funds":
            sender = self.accounts[request.sender]
            sender.history.append(("failed", request.amount, sender.balance))
        return outcome

    def _decide(self, request: Request) -> str:
        sender = self.accounts[request.sender]
        if sender.frozen:
            return "account_frozen"
        if request.receiver == request.sender:
            return "same_account"
        receiver = self.accounts.get(request.receiver)
        if receiver is None:
            return "receiver_not_found"
        if receiver.frozen:
            return "receiver_unavailable"
        if {receiver.currency, request.currency or sender.currency} != {sender.currency}:
            return "currency_mismatch"
        if sender.is_over_limit(request.amount):
            return "limit_exceeded"
        if request.amount > sender.available:
            return "insufficient_funds"
        return "balance_limit" if receiver.balance + request.amount > LIMIT else "completed"

    def fund(self, name: str, amount: int) -> bool:
        """Deposits money. False if the account refuses it."""
        account = self.accounts[name]
        if account.frozen or account.balance + amount > LIMIT:
            return False
        account.move("received", amount)
        return True
