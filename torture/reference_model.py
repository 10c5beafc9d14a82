"""A ledger in a hundred lines: the history replayed in an order that fits all accounts.

Each account numbers its entries and what changes its holds. A transaction is replayed when it is
next for each of its accounts; if none is, no order of transactions explains the history.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from uuid import UUID

from torture.ledger_snapshot import Entry, HeldStep, LedgerSnapshot, Transaction

Step = Entry | HeldStep


def model_differences(ledger: LedgerSnapshot) -> Iterator[str]:
    """Balances and held amounts of the ledger that differ from those of its replayed history."""
    model = _Model(ledger)
    for transaction, steps in in_order(ledger):
        first = steps[0]
        if isinstance(first, HeldStep):
            yield from model.change_held(first)
        elif transaction is None:
            yield f"no order explains the history of {model.names.get(first.account)} and others"
            return
        else:
            yield from model.post(transaction, [step for step in steps if isinstance(step, Entry)])
    for account in ledger.accounts:
        kept = model.balances[account.id], model.held[account.id]
        if (account.balance, account.held) != kept:
            yield (
                f"{account.public_id} has {account.balance} with {account.held} on hold, the model "
                f"{kept[0]} with {kept[1]}"
            )


def in_order(ledger: LedgerSnapshot) -> Iterator[tuple[Transaction | None, list[Step]]]:
    """Every transaction with its entries, and each change of what is held alone.

    At the end None, with the rest, if none can be next.
    """
    transactions = {transaction.id: transaction for transaction in ledger.transactions}
    queues: dict[UUID, deque[Step]] = defaultdict(deque)
    sides: dict[UUID, list[Step]] = defaultdict(list)
    every: list[Step] = [*ledger.entries, *ledger.held_steps]
    for step in sorted(every, key=lambda step: step.sequence):
        queues[step.account].append(step)
        if isinstance(step, Entry):
            sides[step.transaction].append(step)
    accounts = deque(queues)
    while accounts:
        queue = queues[accounts.popleft()]
        while queue:
            first = queue[0]
            steps: list[Step] = [first]
            if isinstance(first, Entry):
                steps = sides[first.transaction]
            if any(queues[step.account][0] is not step for step in steps):
                break
            for step in steps:
                queues[step.account].popleft()
                accounts.append(step.account)
            yield (transactions.get(first.transaction) if isinstance(first, Entry) else None), steps
    rest = [queue[0] for queue in queues.values() if queue]
    if rest:
        yield None, rest


class _Model:
    """Balances and held amounts by account; what is left of holds and of refundable payments."""

    def __init__(self, ledger: LedgerSnapshot) -> None:
        self.names = {account.id: account.public_id for account in ledger.accounts}
        self.balances: dict[UUID, int] = dict.fromkeys(self.names, 0)
        self.held: dict[UUID, int] = dict.fromkeys(self.names, 0)
        self._systems = {account.id for account in ledger.accounts if account.is_system}
        self._left: dict[str, int] = {}  # of each hold and withdrawal
        self._refunded: Counter[UUID] = Counter()
        self._amounts = {one.id: one.amount for one in ledger.transactions if one.moved}
        # The event of a capture or completed withdrawal comes right after its entry.
        self._captures = {
            (step.account, step.sequence - 1): step
            for step in ledger.held_steps
            if step.type in {"hold.captured", "withdrawal.completed"}
        }

    def change_held(self, step: HeldStep) -> Iterator[str]:
        """Something is reserved, or the rest of it released.

        A capture and a completed withdrawal were replayed before.
        """
        if step.type in {"hold.created", "withdrawal.created"}:
            self._left[step.object] = step.amount
            self.held[step.account] += step.amount
            if self.held[step.account] > self.balances[step.account]:
                yield f"{step.object} of {step.amount} was made without the money"
        elif step.type not in {"hold.captured", "withdrawal.completed"}:
            if not self._left.get(step.object):
                yield f"{step.type} of {step.object}, of which nothing was left"
            self.held[step.account] -= self._left.pop(step.object, 0)

    def post(self, one: Transaction, entries: Sequence[Entry]) -> Iterator[str]:
        """A transaction: whether it was covered, what it moved, and the amounts of its entries."""
        if one.origin in {"hold", "withdrawal"}:
            yield from self._capture(one, entries)
        else:
            yield from self._spend(one)
        if one.moved:
            self.balances[one.sender] = self.balances.get(one.sender, 0) - one.amount
            self.balances[one.receiver] += one.amount
        for entry in entries:
            model = self.balances[entry.account], self.held[entry.account]
            if (entry.balance_after, entry.held_after) != model:
                yield (
                    f"{self.names[entry.account]} has {entry.balance_after} with "
                    f"{entry.held_after} on hold after {one.mark}, the model {model}"
                )

    def _spend(self, one: Transaction) -> Iterator[str]:
        """Money that is not on hold; a refund is of the rest of its payment."""
        available = self.balances.get(one.sender, 0) - self.held.get(one.sender, 0)
        covered = one.sender in self._systems or available >= one.amount
        if covered != one.moved:
            yield f"{one.mark}: {one.status} with {available} for {one.amount}"
        if one.origin == "transaction" and one.origin_id is not None and one.moved:
            self._refunded[one.origin_id] += one.amount
            if self._refunded[one.origin_id] > self._amounts.get(one.origin_id, 0):
                yield f"{one.mark} refunds more than was paid"

    def _capture(self, one: Transaction, entries: Sequence[Entry]) -> Iterator[str]:
        """Money that is on hold: the rest stays on hold, or is released with a final capture or
        a completed withdrawal."""
        sent = [entry.sequence for entry in entries if entry.account == one.sender]
        step = self._captures.get((one.sender, sent[0])) if sent else None
        left = self._left.get(step.object, 0) if step is not None else 0
        if step is None or left < one.amount:
            yield f"{one.mark}: {one.amount} captured where {left} were left"
            return
        rest = left - one.amount if step.status == "open" else 0
        self._left[step.object] = rest
        self.held[one.sender] -= left - rest
