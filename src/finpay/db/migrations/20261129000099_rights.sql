-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- finpay_app reads everything, writes identity and webhooks, and moves money through functions
-- alone. No function granted here debits a system account: stolen app credentials can't create
-- money. Each treats its arguments as hostile: tests/hostile/test_sql_functions.py.
GRANT USAGE ON SCHEMA identity, ledger, audit, outbox, webhooks TO finpay_app;
GRANT SELECT ON ALL TABLES IN SCHEMA identity, ledger, audit, outbox, webhooks TO finpay_app;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA identity, webhooks TO finpay_app;
-- All of a user but the role: stolen app credentials make no operators.
REVOKE INSERT, UPDATE ON identity.users FROM finpay_app;
GRANT INSERT (id, email, name, password_hash),
      UPDATE (email, name, password_hash, email_verified_at, second_factor)
    ON identity.users TO finpay_app;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA identity, ledger, audit, outbox, webhooks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    ledger.open_account,
    ledger.post_transfers,
    ledger.list_due_holds,
    ledger.expire_holds,
    ledger.verify_slice,
    ledger.type_id,
    ledger.format_timestamp,
    ledger.account_object,
    ledger.limits_object,
    ledger.effective_limits,
    audit.record,
    audit.record_each,
    outbox.sequence_range,
    outbox.first_sequence_since,
    outbox.record,
    outbox.record_events,
    outbox.prune,
    webhooks.new_id,
    identity.can_be_found
TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
