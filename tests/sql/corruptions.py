"""Ways in which a ledger can be wrong by one unit or one row.

`{…}` are the subjects that test_verify.py's traffic leaves behind: the accounts alice, bob and
system, the user alice_user, the transactions early and late (completed, alice to bob) and failed
(of alice, between the two), and a stranger whom nobody knows.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Corruption:
    """What is changed, the subject that the proof has to name, and the checks that find it."""

    change: str
    named: str
    found_by: str


_ALICE_LATE: Final = "account_id = '{alice}' AND transaction_id = '{late}'"
_ALICE_EARLY: Final = "account_id = '{alice}' AND transaction_id = '{early}'"

CORRUPTIONS: Final = {
    "a balance is one more": Corruption(
        "UPDATE ledger.accounts SET balance = balance + 1 WHERE id = '{alice}'",
        "alice",
        "totals balances",
    ),
    "one unit has moved without an entry": Corruption(
        "UPDATE ledger.accounts SET balance = balance + CASE id WHEN '{alice}' THEN 1 ELSE -1 END "
        "WHERE id IN ('{alice}', '{bob}')",
        "alice",
        "balances",
    ),
    "the system account is one less": Corruption(
        "UPDATE ledger.accounts SET balance = balance - 1 WHERE id = '{system}'",
        "system",
        "totals balances",
    ),
    "an entry is one more": Corruption(
        f"UPDATE ledger.entries SET amount = amount + 1 WHERE {_ALICE_EARLY}",
        "early",
        "double_entry entries balances running_balances",
    ),
    "an entry left one more": Corruption(
        f"UPDATE ledger.entries SET balance_after = balance_after + 1 WHERE {_ALICE_EARLY}",
        "alice",
        "running_balances failures",
    ),
    "the last entry left one more": Corruption(
        f"UPDATE ledger.entries SET balance_after = balance_after + 1 WHERE {_ALICE_LATE}",
        "alice",
        "balances running_balances",
    ),
    "both entries are one more": Corruption(
        "UPDATE ledger.entries SET amount = amount + sign(amount) WHERE transaction_id = '{late}'",
        "late",
        "entries balances running_balances",
    ),
    "an entry is gone": Corruption(
        f"DELETE FROM ledger.entries WHERE {_ALICE_LATE}",
        "late",
        "double_entry balances versions events",
    ),
    "an entry belongs to somebody else": Corruption(
        f"UPDATE ledger.entries SET account_id = '{stranger}' WHERE {_ALICE_LATE}",
        "late",
        "entries balances running_balances versions events",
    ),
    "an entry is of another moment": Corruption(
        "UPDATE ledger.entries SET created_at = created_at + interval '1 microsecond' "
        f"WHERE {_ALICE_LATE}",
        "late",
        "entries",
    ),
    "a transaction is one more": Corruption(
        "UPDATE ledger.transactions SET amount = amount + 1 WHERE id = '{late}'",
        "late",
        "entries",
    ),
    "a transaction is gone": Corruption(
        "DELETE FROM ledger.transactions WHERE id = '{late}'", "late", "double_entry idempotency_keys audit"
    ),
    "a transaction names the next entry of its sender": Corruption(
        "UPDATE ledger.transactions SET sender_version = sender_version + 1 WHERE id = '{late}'",
        "late",
        "entries",
    ),
    "a transaction names the next entry of its receiver": Corruption(
        "UPDATE ledger.transactions SET receiver_version = receiver_version + 1 "
        "WHERE id = '{late}'",
        "late",
        "entries",
    ),
    "a transaction names an entry and a failure": Corruption(
        "UPDATE ledger.transactions SET failure_sequence = 1 WHERE id = '{late}'",
        "late",
        "failures",
    ),
    "a completed transaction calls itself pending": Corruption(
        "UPDATE ledger.transactions SET status = 'pending' WHERE id = '{late}'",
        "late",
        "double_entry",
    ),
    "a failed transaction calls itself completed": Corruption(
        "UPDATE ledger.transactions SET status = 'completed', failure_code = NULL, "
        "sender_version = 1, receiver_version = 1 WHERE id = '{failed}'",
        "failed",
        "double_entry events failures idempotency_keys audit",
    ),
    "a transaction is in another currency": Corruption(
        "UPDATE ledger.transactions SET currency = 'USD' WHERE id = '{late}'",
        "late",
        "parties",
    ),
    "a transfer calls itself funding": Corruption(
        "UPDATE ledger.transactions SET type = 'funding' WHERE id = '{late}'",
        "late",
        "parties",
    ),
    "a failed transaction was sent to nobody": Corruption(
        f"UPDATE ledger.transactions SET receiver_id = '{stranger}' WHERE id = '{failed}'",
        "failed",
        "parties",
    ),
    "an amount is zero": Corruption(
        "ALTER TABLE ledger.transactions DROP CONSTRAINT transactions_amount; "
        "UPDATE ledger.transactions SET amount = 0 WHERE id = '{failed}'",
        "failed",
        "amounts",
    ),
    "an amount is one above the limit": Corruption(
        "ALTER TABLE ledger.transactions DROP CONSTRAINT transactions_amount; "
        "UPDATE ledger.transactions SET amount = 9007199254740992 WHERE id = '{failed}'",
        "failed",
        "amounts",
    ),
    "an account is in another currency": Corruption(
        "UPDATE ledger.accounts SET currency = 'USD' WHERE id = '{alice}'",
        "late",
        "parties totals",
    ),
    "an account counts one entry more": Corruption(
        "UPDATE ledger.accounts SET version = version + 1 WHERE id = '{alice}'",
        "alice",
        "versions",
    ),
    "an account counts one step more": Corruption(
        "UPDATE ledger.accounts SET sequence = sequence + 1 WHERE id = '{alice}'",
        "alice",
        "sequences",
    ),
    "the system account counts one step more": Corruption(
        "UPDATE ledger.accounts SET sequence = sequence + 1 WHERE id = '{system}'",
        "system",
        "sequences",
    ),
    "an entry of the system account counts one step more": Corruption(
        "UPDATE ledger.entries SET sequence = sequence + 1 "
        "WHERE account_id = '{system}' AND version = 1",
        "system",
        "sequences versions",
    ),
    "an account holds one back": Corruption(
        "UPDATE ledger.accounts SET held = 1 WHERE id = '{alice}'", "alice", "holds"
    ),
    "an account is one below zero": Corruption(
        "ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_never_overdrawn; "
        "UPDATE ledger.accounts SET held = balance + 1 WHERE id = '{alice}'",
        "alice",
        "overdrafts holds",
    ),
    "an account was one below zero": Corruption(
        "UPDATE ledger.entries SET balance_after = -1 "
        "WHERE account_id = '{alice}' AND version = 1",
        "alice",
        "overdrafts running_balances",
    ),
    "an account's user is gone": Corruption(
        "DELETE FROM identity.users WHERE id = '{alice_user}'", "alice", "owners"
    ),
    "a user has no account": Corruption(
        "INSERT INTO identity.users (id, email, password_hash) "
        f"VALUES ('{stranger}', 'stranger@example.com', 'none')",
        "stranger_user",
        "owners",
    ),
    "an entry counts one step more": Corruption(
        f"UPDATE ledger.entries SET sequence = sequence + 1 WHERE {_ALICE_LATE}",
        "alice",
        "events",
    ),
    "an event in the middle is gone": Corruption(
        "DELETE FROM outbox.events WHERE account_id = '{alice}' AND transaction_id IS NULL",
        "alice",
        "sequences",
    ),
    "the last event is gone": Corruption(
        "DELETE FROM outbox.events WHERE account_id = '{alice}' AND transaction_id = '{late}'",
        "alice",
        "sequences events",
    ),
    "an event tells of another transaction": Corruption(
        "UPDATE outbox.events SET transaction_id = '{early}' "
        "WHERE account_id = '{alice}' AND transaction_id = '{late}'",
        "late",
        "events idempotency_keys",
    ),
    "an event tells of another outcome": Corruption(
        "UPDATE outbox.events SET type = 'transaction.completed' "
        "WHERE transaction_id = '{failed}'",
        "failed",
        "events",
    ),
    "an event tells the receiver who sent it": Corruption(
        "UPDATE outbox.events SET actor_id = '{alice_user}' "
        "WHERE account_id = '{bob}' AND transaction_id = '{late}'",
        "late",
        "events",
    ),
    "an event belongs to nobody": Corruption(
        "INSERT INTO outbox.events (account_id, sequence, created_at, type, data) "
        f"VALUES ('{stranger}', 1, now(), 'account.updated', '{{}}')",
        "stranger",
        "events",
    ),
    "the system account has an event": Corruption(
        "INSERT INTO outbox.events (account_id, sequence, created_at, type, data) "
        "VALUES ('{system}', 1, now(), 'account.updated', '{{}}')",
        "system",
        "events",
    ),
    "a failure left one more": Corruption(
        "UPDATE ledger.failures SET balance_after = balance_after + 1 "
        "WHERE transaction_id = '{failed}'",
        "failed",
        "failures",
    ),
    "a failure stands one entry later": Corruption(
        "UPDATE ledger.failures SET version = version + 1 WHERE transaction_id = '{failed}'",
        "failed",
        "failures",
    ),
    "a failure is gone": Corruption(
        "DELETE FROM ledger.failures WHERE transaction_id = '{failed}'",
        "failed",
        "failures events",
    ),
    "a transaction names another failure": Corruption(
        "UPDATE ledger.transactions SET failure_sequence = failure_sequence + 1 "
        "WHERE id = '{failed}'",
        "failed",
        "failures",
    ),
    "a key is gone": Corruption(
        "DELETE FROM ledger.idempotency_keys WHERE transaction_id = '{late}'",
        "late",
        "idempotency_keys",
    ),
    "a transaction has two keys": Corruption(
        "INSERT INTO ledger.idempotency_keys SELECT principal_id, transaction_id, created_at, "
        "http_status, 'another', fingerprint, answer FROM ledger.idempotency_keys "
        "WHERE transaction_id = '{late}'",
        "late",
        "idempotency_keys",
    ),
    "a key names a transaction that isn't there": Corruption(
        f"UPDATE ledger.idempotency_keys SET transaction_id = '{stranger}' "
        "WHERE transaction_id = '{late}'",
        "late",
        "idempotency_keys",
    ),
    "a key answers another status": Corruption(
        "UPDATE ledger.idempotency_keys SET http_status = 402 WHERE transaction_id = '{late}'",
        "late",
        "idempotency_keys",
    ),
    "a key belongs to the receiver": Corruption(
        "UPDATE ledger.idempotency_keys k SET principal_id = a.user_id FROM ledger.accounts a "
        "WHERE a.id = '{bob}' AND k.transaction_id = '{late}'",
        "late",
        "idempotency_keys",
    ),
    "a key belongs to nobody": Corruption(
        f"UPDATE ledger.idempotency_keys SET principal_id = '{stranger}' "
        "WHERE transaction_id IS NULL AND http_status = 200",
        "stranger_user",
        "idempotency_keys",
    ),
    "an event tells another key": Corruption(
        "UPDATE outbox.events SET idempotency_key = 'another' "
        "WHERE account_id = '{alice}' AND transaction_id = '{late}'",
        "late",
        "idempotency_keys",
    ),
    "an audit row is gone": Corruption(
        "DELETE FROM audit.log WHERE subject_id = '{late}'", "late", "audit"
    ),
    "a transaction has two audit rows": Corruption(
        "INSERT INTO audit.log (created_at, actor_id, subject_id, action) "
        "SELECT created_at, actor_id, subject_id, action FROM audit.log "
        "WHERE subject_id = '{late}'",
        "late",
        "audit",
    ),
    "an audit row names somebody else": Corruption(
        f"UPDATE audit.log SET actor_id = '{stranger}' WHERE subject_id = '{late}'",
        "late",
        "audit",
    ),
    "an audit row tells of a transaction that isn't there": Corruption(
        "INSERT INTO audit.log (created_at, subject_id, action) "
        f"VALUES (now(), '{stranger}', 'transaction.completed')",
        "stranger_transaction",
        "audit",
    ),
    "an audit row tells of an account that isn't there": Corruption(
        "INSERT INTO audit.log (created_at, subject_id, action) "
        f"VALUES (now(), '{stranger}', 'account.updated')",
        "stranger",
        "audit",
    ),
    "a refusal has no audit row": Corruption(
        "DELETE FROM audit.log WHERE action = 'transaction.refused'", "alice_user", "audit"
    ),
}
