"""A ledger in forty lines: the history replayed in an order that is consistent for all accounts.

Each account numbers its entries. A transaction is replayed when it is next for each of its
accounts; if none is, no order of transactions explains the history.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from uuid import UUID

from torture.ledger_snapshot import Entry, LedgerSnapshot, Transaction


def model_differences(ledger: LedgerSnapshot) -> Iterator[str]:
    """Balances of the ledger that differ from those of its replayed history."""
    balances: dict[UUID, int] = dict.fromkeys((account.id for account in ledger.accounts), 0)
    names = {account.id: account.public_id for account in ledger.accounts}
    systems = {account.id for account in ledger.accounts if account.is_system}
    for transaction, entries in in_order(ledger):
        if transaction is None:
            yield f"no order explains the history of {names.get(entries[0].account)} and others"
            return
        funds = balances.get(transaction.sender, 0)
        covered = transaction.sender in systems or funds >= transaction.amount
        if covered != (transaction.status == "completed"):
            yield f"{transaction.mark}: {transaction.status} with {funds} for {transaction.amount}"
        if transaction.status == "completed":
            balances[transaction.sender] = funds - transaction.amount
            balances[transaction.receiver] += transaction.amount
        for entry in entries:
            if entry.balance_after != balances[entry.account]:
                yield (
                    f"{names[entry.account]} has {entry.balance_after} after {transaction.mark}, "
                    f"and the model {balances[entry.account]}"
                )
    for account in ledger.accounts:
        if account.balance != balances[account.id]:
            yield f"{account.public_id} has {account.balance}, the model {balances[account.id]}"


def in_order(ledger: LedgerSnapshot) -> Iterator[tuple[Transaction | None, list[Entry]]]:
    """Every transaction with its entries. At the end None, with the rest, if none can be next."""
    transactions = {transaction.id: transaction for transaction in ledger.transactions}
    queues: dict[UUID, deque[Entry]] = defaultdict(deque)
    sides: dict[UUID, list[Entry]] = defaultdict(list)
    for entry in sorted(ledger.entries, key=lambda entry: entry.sequence):
        queues[entry.account].append(entry)
        sides[entry.transaction].append(entry)
    accounts = deque(queues)
    while accounts:
        queue = queues[accounts.popleft()]
        while queue:
            entries = sides[queue[0].transaction]
            if any(queues[entry.account][0] is not entry for entry in entries):
                break
            for entry in entries:
                queues[entry.account].popleft()
                accounts.append(entry.account)
            yield transactions.get(entries[0].transaction), entries
    rest = [queue[0] for queue in queues.values() if queue]
    if rest:
        yield None, rest
