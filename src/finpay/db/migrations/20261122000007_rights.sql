-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- finpay_app reads everything, writes identity, and moves money only through functions. Nothing
-- granted here debits a system account: stolen app credentials can't create money.
GRANT USAGE ON SCHEMA identity, ledger, audit, outbox TO finpay_app;
GRANT SELECT ON ALL TABLES IN SCHEMA identity, ledger, audit, outbox TO finpay_app;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA identity TO finpay_app;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA identity, ledger, audit, outbox FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    ledger.open_account,
    ledger.post_transfers,
    ledger.type_id,
    ledger.wire_time,
    ledger.account_object,
    audit.record,
    outbox.numbers_within,
    outbox.first_since,
    outbox.record,
    outbox.record_each
TO finpay_app;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
