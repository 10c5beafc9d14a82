"""The bank in forty lines: the ledger's history played again, in an order that all accounts share.

Each account numbers what happened to it. A transaction can be played when it is next for each of
its accounts; if none can, no order of events explains what the ledger says.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from uuid import UUID

from torture.ledger_snapshot import Step, Transaction, Truth


def drift(truth: Truth) -> Iterator[str]:
    """Where the ledger's balances differ from those that its history leads to."""
    balances: dict[UUID, int] = dict.fromkeys((account.id for account in truth.accounts), 0)
    names = {account.id: account.public_id for account in truth.accounts}
    systems = {account.id for account in truth.accounts if account.is_system}
    for transaction, steps in in_order(truth):
        if transaction is None:
            yield f"no order explains the history of {names.get(steps[0].account)} and others"
            return
        funds = balances.get(transaction.sender, 0)
        covered = transaction.sender in systems or funds >= transaction.amount
        if covered != (transaction.status == "completed"):
            yield f"{transaction.mark}: {transaction.status} with {funds} for {transaction.amount}"
        if transaction.status == "completed":
            balances[transaction.sender] = funds - transaction.amount
            balances[transaction.receiver] += transaction.amount
        for step in steps:
            if step.balance_after != balances[step.account]:
                yield (
                    f"{names[step.account]} has {step.balance_after} after {transaction.mark}, "
                    f"and the model {balances[step.account]}"
                )
    for account in truth.accounts:
        if account.balance != balances[account.id]:
            yield f"{account.public_id} has {account.balance}, the model {balances[account.id]}"


def in_order(truth: Truth) -> Iterator[tuple[Transaction | None, list[Step]]]:
    """Every transaction with its steps. At last, None and what is left if nothing can be next."""
    transactions = {transaction.id: transaction for transaction in truth.transactions}
    queues: dict[UUID, deque[Step]] = defaultdict(deque)
    sides: dict[UUID, list[Step]] = defaultdict(list)
    for step in sorted(truth.steps, key=lambda step: step.sequence):
        queues[step.account].append(step)
        sides[step.transaction].append(step)
    look_at = deque(queues)
    while look_at:
        queue = queues[look_at.popleft()]
        while queue:
            steps = sides[queue[0].transaction]
            if any(queues[step.account][0] is not step for step in steps):
                break
            for step in steps:
                queues[step.account].popleft()
                look_at.append(step.account)
            yield transactions.get(steps[0].transaction), steps
    left = [queue[0] for queue in queues.values() if queue]
    if left:
        yield None, left
