"""Planted bugs of holds, refunds, withdrawals, limits, expiry, requests, schedules, statements."""

from typing import Final

from tests.mutants.mutant import Mutant

_MIGRATIONS: Final = "src/finpay/db/migrations/20261129"
TABLES: Final = f"{_MIGRATIONS}000003_ledger.sql"
OUTCOMES: Final = f"{_MIGRATIONS}000007_ledger_outcomes.sql"
DECISIONS: Final = f"{_MIGRATIONS}000008_ledger_decisions.sql"
DECIDE: Final = f"{_MIGRATIONS}000009_ledger_decide_batch.sql"
OPERATIONS: Final = f"{_MIGRATIONS}000010_ledger_operations.sql"
TARGETS: Final = f"{_MIGRATIONS}000018_ledger_targets.sql"
ANSWERS: Final = f"{_MIGRATIONS}000012_ledger_answers.sql"
LIMITS: Final = f"{_MIGRATIONS}000011_ledger_limits.sql"
POST: Final = f"{_MIGRATIONS}000014_ledger_posting.sql"
EXPIRY: Final = f"{_MIGRATIONS}000015_ledger_expiry.sql"
DRY_RUN: Final = f"{_MIGRATIONS}000016_ledger_dry_run.sql"
ACTIONS: Final = f"{_MIGRATIONS}000022_ledger_operator_actions.sql"
COMMANDS: Final = f"{_MIGRATIONS}000023_ledger_operator_commands.sql"
LIMIT_CHANGES: Final = f"{_MIGRATIONS}000024_ledger_limit_changes.sql"
REQUEST_CHANGES: Final = f"{_MIGRATIONS}000042_payment_request_changes.sql"
SCHEDULES: Final = f"{_MIGRATIONS}000043_schedules.sql"
SCHEDULE_CHANGES: Final = f"{_MIGRATIONS}000044_schedule_changes.sql"
PAYMENTS: Final = f"{_MIGRATIONS}000045_payment_request_payments.sql"
RUNS: Final = f"{_MIGRATIONS}000046_schedule_runs.sql"
HELD_CHANGES: Final = f"{_MIGRATIONS}000025_ledger_held_changes.sql"
STATEMENTS: Final = f"{_MIGRATIONS}000050_ledger_statements.sql"
CSV: Final = "src/finpay/statements/csv_rows.py"
HOLDS: Final = "src/finpay/ledger/holds.py"
RUNNER: Final = "src/finpay/ledger/schedule_runner.py"
VERIFY: Final = "src/finpay/ledger/verify_operations.sql"
HISTORY: Final = "src/finpay/ledger/verify_history.sql"
EVENT_PAGES: Final = "src/finpay/outbox/events.py"

HOLD_TESTS: Final = "tests/sql/test_holds.py"
REFUND_TESTS: Final = "tests/api/test_refunds.py"
WITHDRAWAL_TESTS: Final = "tests/sql/test_withdrawals.py"
OUTCOME_TESTS: Final = "tests/sql/test_operation_outcomes.py"
EXPIRY_TESTS: Final = "tests/sql/test_hold_expiry.py"
EXPIRY_ROWS: Final = "tests/sql/test_hold_expiry_rows.py"
FIXED_ROWS: Final = "tests/sql/test_fixed_rows.py"
PLAN_TESTS: Final = "tests/sql/test_list_plans.py"
RACE_TESTS: Final = "tests/sql/test_operation_races.py"
RUN_RACES: Final = "tests/sql/test_schedule_races.py"
RUN_TESTS: Final = "tests/sql/test_schedule_runs.py"
REQUEST_OUTCOMES: Final = "tests/sql/test_request_outcomes.py"
PAID_REQUESTS: Final = "tests/sql/test_request_payments.py"
REQUEST_TESTS: Final = "tests/api/test_payment_requests.py"
PAYMENT_TESTS: Final = "tests/api/test_payments_of_requests.py"
SCHEDULE_TESTS: Final = "tests/api/test_schedules.py"
LIMIT_TESTS: Final = "tests/api/test_limits.py"
OPERATOR_TESTS: Final = "tests/sql/test_operator_outcomes.py"
ACTION_TESTS: Final = "tests/sql/test_operator_action_outcomes.py"

OPERATION_MUTANTS: Final = (
    # Holds and refunds.
    Mutant("a capture leaves its hold open", DECISIONS,
           "CASE WHEN released = remaining THEN 'captured' ELSE 'open' END", "'open'",
           HOLD_TESTS),
    Mutant("a void keeps the money on hold", DECISIONS,
           "moved, false, false, remaining, remaining, target.taken, 'voided'",
           "moved, false, false, 0, 0, target.taken, 'voided'", HOLD_TESTS),
    Mutant("the second capture of a batch sees the first state", DECIDE,
           "targets[t] := target;", "", RACE_TESTS),
    Mutant("each capture of a batch has a hold of its own", TARGETS,
           "IF (SELECT count(DISTINCT i.id) < count(i.id) FROM", "IF (SELECT count(i.id) < 0 FROM",
           RACE_TESTS),
    Mutant("a refund is taken from the payer", DECISIONS,
           "moved, true, true, 0, 0, target.taken + moved",
           "moved, true, false, 0, 0, target.taken + moved", HOLD_TESTS),
    Mutant("a frozen receiver captures", OUTCOMES,
           "WHEN is_sender THEN 'forbidden'\n"
           "    WHEN caller_refusal IS NOT NULL THEN caller_refusal\n"
           "    WHEN NOT is_open", "WHEN is_sender THEN 'forbidden'\n    WHEN NOT is_open",
           OUTCOME_TESTS),
    Mutant("a frozen payer's hold is captured", OUTCOMES,
           "WHEN sender_frozen THEN 'sender_unavailable'", "WHEN false THEN 'sender_unavailable'",
           RACE_TESTS),
    Mutant("any transaction is refunded", TARGETS, "t.status::text, t.type = 'transfer',",
           "t.status::text, true,", OUTCOME_TESTS),
    Mutant("a failed transaction is refunded", TARGETS, "AND t.status <> 'failed'\n", "\n",
           REFUND_TESTS),
    Mutant("a reversed transaction stays completed", DECISIONS,
           "THEN 'reversed' ELSE 'completed' END", "THEN 'completed' ELSE 'completed' END",
           RACE_TESTS),
    Mutant("the payer of a hold is not locked", TARGETS,
           "WHERE h.account_id = accounts[q.sender] AND h.id = q.target",
           "WHERE false AND h.id = q.target", HOLD_TESTS),
    Mutant("the payer's event of a hold is lost", OPERATIONS,
           "    WHERE side.sequence IS NOT NULL;\n\n    IF subscribed IS NOT NULL THEN\n"
           "        SELECT webhooks",
           "    WHERE side.sequence IS NOT NULL AND side.account = o.caller;\n\n"
           "    IF subscribed IS NOT NULL THEN\n        SELECT webhooks", HOLD_TESTS),
    # Withdrawals.
    Mutant("a withdrawal is canceled twice", TARGETS, "0, w.status::text, w.status = 'pending',",
           "0, w.status::text, true,", RACE_TESTS),
    Mutant("a withdrawal holds nothing", DECISIONS,
           "amount, false, true, -amount, -amount, 0, 'pending'",
           "amount, false, true, 0, -amount, 0, 'pending'", RACE_TESTS),
    Mutant("others cancel a withdrawal", TARGETS,
           "WHERE w.account_id = account_ids[q.sender] AND w.id = q.id", "WHERE w.id = q.id",
           WITHDRAWAL_TESTS),
    Mutant("a withdrawal is over the limit", OUTCOMES,
           "WHEN refusal IS NOT NULL THEN refusal\n"
           "    WHEN NOT within_limits THEN 'limit_exceeded'",
           "WHEN refusal IS NOT NULL THEN refusal\n"
           "    WHEN false THEN 'limit_exceeded'", OUTCOME_TESTS),
    Mutant("a canceled withdrawal is completed", ACTIONS,
           "WHEN withdrawal.status <> 'pending' THEN", "WHEN false THEN", OPERATOR_TESTS),
    Mutant("an operator refunds more than was paid", ACTIONS,
           "WHEN amount > remaining OR remaining = 0 THEN", "WHEN false THEN", OPERATOR_TESTS),
    Mutant("who is no operator sees that an account does not exist", ACTIONS,
           "WHEN ledger.is_operator(origin.operator_id) THEN 'receiver_not_found'",
           "WHEN true THEN 'receiver_not_found'", ACTION_TESTS),
    Mutant("a deposit above the largest balance needs an approval", ACTIONS,
           "AND receiver.balance > 9007199254740991 - amount",
           "AND receiver.balance > 9007199254740991 - amount\n"
           "            AND (approval.id IS NOT NULL OR origin.approval_above IS NULL)",
           ACTION_TESTS),
    Mutant("a decided approval is decided by its action", COMMANDS,
           "WHEN status <> 'pending' THEN 'approval_not_pending' END",
           "WHEN status <> 'pending' AND NOT is_approved THEN 'approval_not_pending' END",
           ACTION_TESTS),
    Mutant("a reference is used twice", ACTIONS,
           "WHEN taken.transaction_id IS NOT NULL OR taken.approval_id <> approval.id",
           "WHEN taken.approval_id <> approval.id", OPERATOR_TESTS),
    # Limits.
    Mutant("the daily limit forgets today", OUTCOMES,
           "COALESCE(sent + amount <= limit_daily, true)",
           "COALESCE(amount <= limit_daily, true)", HOLD_TESTS),
    Mutant("transfers do not count in the limit", DECIDE,
           "sents[s] := LEAST(sents[s] + amount, max_sent);", "", HOLD_TESTS),
    Mutant("a raised limit counts at once", LIMIT_CHANGES,
           "now_single := LEAST(now_single, single);", "now_single := single;", LIMIT_TESTS),
    Mutant("limits are raised above the operator's", LIMIT_CHANGES,
           "fault := 'above_ceiling';\n        RETURN;", "NULL;", LIMIT_TESTS),
    Mutant("a pending limit never counts", LIMITS,
           "CASE WHEN l.effective_at <= moment THEN l.pending_single ELSE a.single END",
           "a.single", LIMIT_TESTS),
    # Expiry.
    Mutant("a hold in time expires", OPERATIONS,
           "AND h.status = 'open' AND h.expires_at <= moment OFFSET 0",
           "AND h.status = 'open' OFFSET 0", EXPIRY_TESTS),
    Mutant("a closed hold expires", OPERATIONS,
           "AND h.status = 'open' AND h.expires_at <= moment OFFSET 0",
           "AND h.expires_at <= moment OFFSET 0", EXPIRY_TESTS),
    Mutant("a row that is named twice has two events", EXPIRY,
           "SELECT DISTINCT * FROM unnest(account_ids, ids)",
           "SELECT * FROM unnest(account_ids, ids)", EXPIRY_TESTS),
    Mutant("expiry releases what was captured", OPERATIONS,
           "h.amount - h.captured_amount AS remaining, h.account_id", "h.amount AS remaining, "
           "h.account_id", EXPIRY_TESTS),
    Mutant("expiry releases for the receiver too", OPERATIONS,
           "COALESCE(sum(e.remaining) FILTER (WHERE e.is_sent), 0) AS released",
           "COALESCE(sum(e.remaining), 0) AS released", EXPIRY_TESTS),
    Mutant("an expired hold still counts in the limit", EXPIRY,
           "THEN GREATEST(a.sent_today - c.given_back, 0)", "THEN a.sent_today", EXPIRY_TESTS),
    Mutant("expiry without locks", EXPIRY, "    ORDER BY a.id FOR NO KEY UPDATE;\n",
           "    ORDER BY a.id;\n", EXPIRY_TESTS),
    Mutant("an index has the status of holds", TABLES,
           "-- Operators know a hold by its id alone.\n",
           "CREATE INDEX holds_due ON ledger.holds (expires_at) WHERE status = 'open';\n",
           EXPIRY_ROWS),
    Mutant("an expired hold keeps its expiry", OPERATIONS,
           "DELETE FROM ledger.hold_expiries x WHERE x.ctid",
           "DELETE FROM ledger.hold_expiries x WHERE false AND x.ctid", EXPIRY_ROWS),
    Mutant("a closed hold keeps its expiry", EXPIRY, "WHERE NOT d.is_open))", "WHERE false))",
           EXPIRY_ROWS),
    Mutant("an open hold loses its expiry before it expires", EXPIRY, "WHERE NOT d.is_open))",
           "))", EXPIRY_ROWS),
    Mutant("a page of closed holds has no last key", EXPIRY,
           "INTO account_ids, ids, listed\n    FROM due d;",
           "INTO account_ids, ids, listed\n    FROM due d WHERE d.is_open;", EXPIRY_ROWS),
    Mutant("each page is the first one", EXPIRY, "> (after_time, after_account, after_hold)",
           "> ('-infinity', after_account, after_hold)", EXPIRY_ROWS),
    Mutant("ids of withdrawals are unique in their account alone", TABLES,
           "CREATE UNIQUE INDEX withdrawals_id", "CREATE INDEX withdrawals_id", FIXED_ROWS),
    Mutant("the description of a transaction may change", TABLES,
           "failure_code, scheduled_for, description,", "failure_code, scheduled_for,", FIXED_ROWS),
    Mutant("a worker waits for another one", EXPIRY, "FOR UPDATE SKIP LOCKED", "FOR UPDATE",
           EXPIRY_ROWS),
    Mutant("a worker stops where only closed holds are due", HOLDS,
           "if keys and not expired:", "if not expired:", EXPIRY_ROWS),
    Mutant("a worker reads the holds that are not due", EXPIRY, "WHERE o.expires_at <= moment",
           "WHERE o.expires_at <= clock_timestamp()", PLAN_TESTS),
    Mutant("a dry run reads the holds that are not due", DRY_RUN,
           "WHERE x.expires_at <= moment AND x.account_id",
           "WHERE x.expires_at <= clock_timestamp() AND x.account_id", PLAN_TESTS),
    Mutant("a worker reads the schedules that are not due", RUNS, "d.next_at <= moment",
           "d.next_at <= clock_timestamp()", PLAN_TESTS),
    Mutant("an open hold without an expiry is proved right", VERIFY,
           " OR (h.status = 'open' AND x.hold_id IS NULL)", "", "tests/sql/test_verify.py"),
    Mutant("money of expired holds is not spent", POST, "IF 0 < ANY (held_amounts)",
           "IF false", HOLD_TESTS),
    Mutant("payments of a batch spend expired holds alone", OPERATIONS,
           "LEAST(max_wanted, wanted[sender] + COALESCE(", "LEAST(max_wanted, COALESCE(",
           EXPIRY_TESTS),
    Mutant("a refund of all spends no expired hold", OPERATIONS,
           "amounts[i], targets[q].amount - targets[q].taken, 0));", "amounts[i], 0));",
           EXPIRY_TESTS),
    Mutant("a dry run gives nothing back to the limit", DRY_RUN,
           "COALESCE(sum(h.remaining) FILTER (WHERE h.is_of_today), 0), 0)", "0, 0)",
           "tests/api/test_dry_runs.py"),
    # Payment requests.
    Mutant("a request is paid twice", OUTCOMES, "WHEN caller_refusal IS NULL AND NOT is_open THEN",
           "WHEN false THEN", PAYMENT_TESTS),
    Mutant("a closed request is refused before a frozen payer", OUTCOMES,
           "WHEN caller_refusal IS NULL AND NOT is_open THEN", "WHEN NOT is_open THEN",
           REQUEST_OUTCOMES),
    Mutant("an own request is paid", OUTCOMES, "WHEN is_requester THEN 'forbidden'",
           "WHEN false THEN 'forbidden'", REQUEST_OUTCOMES),
    Mutant("an overdue request is paid", TARGETS,
           "ledger.payment_request_status_at(r, moment) = 'open',", "r.status = 'open',",
           PAYMENT_TESTS),
    Mutant("others pay a named request", TARGETS,
           "OR r.payer_email IS NULL\n", "OR r.payer_email IS NOT NULL\n", PAYMENT_TESTS),
    Mutant("a user who registered later does not find the request", TARGETS,
           "COALESCE(\n" + 27 * " " + "r.payer_id, ledger.account_of_email(r.payer_email))",
           "r.payer_id", PAID_REQUESTS),
    Mutant("the requester is not locked", TARGETS, "WHERE r.id = q.target AND",
           "WHERE false AND r.id = q.target AND", PAYMENT_TESTS),
    Mutant("all requests are read to find one", TARGETS, "WHERE r.id = q.target AND",
           "WHERE r.id::text = q.target::text AND",
           "tests/sql/test_operation_plans.py"),
    Mutant("a paid request stays open", OPERATIONS, "IF 'pay' = ANY (modes) THEN",
           "IF false THEN", PAYMENT_TESTS),
    Mutant("the payer's side of a request stays open", PAYMENTS,
           "SET status = excluded.status, transaction_id = excluded.transaction_id;",
           "SET status = side.status;", PAYMENT_TESTS),
    Mutant("a payment of a request is over the limit", DECIDE,
           "COALESCE(amount, target.amount), sents[s],", "amount, sents[s],", REQUEST_OUTCOMES),
    Mutant("payments of requests do not count in the limit", DECISIONS,
           "moved, true, true, 0, -moved, target.taken, 'paid'",
           "moved, true, true, 0, 0, target.taken, 'paid'", PAID_REQUESTS),
    Mutant("a payment of a request has no audit row of its own", PAYMENTS,
           "FROM unnest(operations) AS o WHERE o.mode = 'pay';",
           "FROM unnest(operations) AS o WHERE false;", PAID_REQUESTS),
    Mutant("the refusal of a payment is that of an operation", ANSWERS,
           "CASE modes[q] WHEN 'pay' THEN", "CASE modes[q] WHEN '' THEN", PAID_REQUESTS),
    Mutant("the transfer does not say which request it paid", POST,
           "WHEN 'pay' THEN 'payment_request'", "WHEN '' THEN 'payment_request'", PAID_REQUESTS),
    Mutant("an overdue request is canceled", REQUEST_CHANGES,
           "result.status_now := ledger.payment_request_status_at(request, moment);",
           "result.status_now := request.status;", REQUEST_TESTS),
    Mutant("the payer cancels a request", REQUEST_CHANGES,
           "(caller.id = request.requester_id) <> (new_status = 'canceled')", "false",
           REQUEST_TESTS),
    Mutant("101 requests are open", REQUEST_CHANGES, "HAVING count(*) >= max_open",
           "HAVING count(*) > max_open", REQUEST_TESTS),
    Mutant("a request expires before its time", REQUEST_CHANGES,
           "AND r.expires_at <= moment\n          ORDER", "\n          ORDER",
           "tests/sql/test_payment_request_expiry.py"),
    # Schedules.
    Mutant("an occurrence is run twice", RUNS, "        AND s.next_occurrence = u.number\n", "\n",
           RUN_TESTS),
    Mutant("a paused schedule runs", RUNS, "WHERE s.status = 'active' AND s.next_at <= moment",
           "WHERE s.next_at <= moment", RUN_TESTS),
    Mutant("a schedule runs too early", RUNS, "AND s.next_at <= moment AND", "AND", RUN_RACES),
    Mutant("four failures pause a schedule", RUNS, "max_failures CONSTANT integer := 3",
           "max_failures CONSTANT integer := 4", RUN_TESTS),
    Mutant("until is exclusive", SCHEDULE_CHANGES, "schedule.next_at > schedule.until",
           "schedule.next_at >= schedule.until", RUN_TESTS),
    Mutant("resuming does not skip", SCHEDULE_CHANGES,
           "schedule, ledger.occurrence_after(schedule, moment));",
           "schedule, schedule.next_occurrence);", SCHEDULE_TESTS),
    Mutant("the hour moves with daylight saving", SCHEDULES,
           "second := local AT TIME ZONE region;", "second := start_at + (local - "
           "(start_at AT TIME ZONE region));", "tests/sql/test_schedule_occurrences.py"),
    Mutant("the second of two equal hours", SCHEDULES,
           "THEN before ELSE second END;\nEND", "THEN second ELSE second END;\nEND",
           "tests/sql/test_schedule_occurrences.py"),
    Mutant("a locked account stops all runs", RUNNER, "        if len(runs) == 1:\n"
           "            return 0\n", "        return 0\n", RUN_TESTS),
    # Past balances, statements and the proof.
    Mutant("the entry after the moment", STATEMENTS, "IF made_at <= moment THEN",
           "IF made_at < moment THEN", "tests/sql/test_past_balances.py"),
    Mutant("what is held is that of now", STATEMENTS, " AND h.created_at <= moment\n", "\n",
           "tests/sql/test_past_holds.py"),
    Mutant("what was held is that of the first record", STATEMENTS,
           "ORDER BY s.sequence DESC LIMIT 1), 0)", "ORDER BY s.sequence LIMIT 1), 0)",
           "tests/sql/test_past_holds.py"),
    Mutant("an entry is the last word on what is held", HELD_CHANGES,
           "former[item.sender] := NULL;", "NULL;", "tests/sql/test_past_holds.py"),
    Mutant("the proof compares no last record", HISTORY, "WHERE is_end AND", "WHERE false AND",
           "tests/sql/test_verify.py"),
    Mutant("a page of events reads them all", EVENT_PAGES,
           "before = bounds[1] if scanned is None else scanned + 1\n", "before = bounds[1]\n",
           "tests/sql/test_event_lists.py"),
    Mutant("formulas in a CSV", CSV, "first in FORMULA_STARTS or", "False or",
           "tests/unit/test_statement_streams.py"),
    Mutant("the proof skips pending withdrawals", VERIFY,
           "FROM ledger.withdrawals WHERE status = 'pending'\n    ) open",
           "FROM ledger.withdrawals WHERE false\n    ) open", "tests/sql/test_verify.py"),
)  # fmt: skip
