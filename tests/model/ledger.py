"""The ledger in ninety lines of Python: what has to be true, with nothing that makes it fast.

It knows no SQL, no locks and no batches. DESIGN §4 is its only source.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

LIMIT: Final = 2**53 - 1


@dataclass
class Account:
    """One user's account. `history` has a step for all that its owner can see, oldest first."""

    currency: str = "ZAR"
    balance: int = 0
    frozen: bool = False
    history: list[tuple[str, int, int]] = field(default_factory=list)  # what, amount, balance after

    def move(self, what: str, amount: int) -> None:
        self.balance += amount
        self.history.append((what, abs(amount), self.balance))


@dataclass(frozen=True)
class Request:
    """What a user asks for. `receiver` is a name; one that has no account is nobody."""

    sender: str
    key: str
    receiver: str
    amount: int
    currency: str | None = None


@dataclass(frozen=True)
class Many:
    """A bulk: parts of one sender under one key."""

    sender: str
    key: str
    parts: tuple[Request, ...]
    atomic: bool


@dataclass
class Ledger:
    """Accounts by name, and what each key of each sender was used for and answered."""

    accounts: dict[str, Account] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[Request | Many, str]] = field(default_factory=dict)

    def post(self, asked: Request) -> str:
        """The outcome, in the order of precedence."""
        known = self._known(asked)
        if known is not None:
            return known
        outcome = self._do(asked)
        self.keys[asked.sender, asked.key] = asked, outcome
        return outcome

    def post_many(self, asked: Many) -> tuple[str, list[str | None]]:
        """The outcome, and that of each part; None for what was not done or taken back."""
        told: list[str | None] = [None] * len(asked.parts)
        outcome = self._known(asked)
        if outcome is not None:
            return outcome, told
        outcome = "completed"
        before = deepcopy(self.accounts)
        for at, part in enumerate(asked.parts):
            told[at] = done = self._do(part)
            if asked.atomic and done != "completed":
                self.accounts, outcome = before, done
                told[:at] = [None] * at
                break
        self.keys[asked.sender, asked.key] = asked, outcome
        return outcome, told

    def _known(self, asked: Request | Many) -> str | None:
        known = self.keys.get((asked.sender, asked.key))
        if known is None:
            return None
        return "duplicate" if known[0] == asked else "idempotency_key_reuse"

    def _do(self, asked: Request) -> str:
        outcome = self._decide(asked)
        if outcome == "completed":
            self.accounts[asked.sender].move("sent", -asked.amount)
            self.accounts[asked.receiver].move("received", asked.amount)
        elif outcome == "insufficient_funds":
            sender = self.accounts[asked.sender]
            sender.history.append(("failed", asked.amount, sender.balance))
        return outcome

    def _decide(self, asked: Request) -> str:
        sender = self.accounts[asked.sender]
        if sender.frozen:
            return "account_frozen"
        if asked.receiver == asked.sender:
            return "same_account"
        receiver = self.accounts.get(asked.receiver)
        if receiver is None:
            return "receiver_not_found"
        if receiver.frozen:
            return "receiver_unavailable"
        if {receiver.currency, asked.currency or sender.currency} != {sender.currency}:
            return "currency_mismatch"
        if asked.amount > sender.balance:
            return "insufficient_funds"
        return "balance_limit" if receiver.balance + asked.amount > LIMIT else "completed"

    def fund(self, name: str, amount: int) -> bool:
        """Money from outside; whether the account could take it."""
        account = self.accounts[name]
        if account.frozen or account.balance + amount > LIMIT:
            return False
        account.move("received", amount)
        return True
