-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- A single movement of money, for commands of operators: one at a time, so without arrays.

-- Moves money between two locked accounts, either of which may be the system account: the
-- transaction, its entries, the events of the users among the parties, the audit row. `released` is
-- taken from what the sender has on hold. Returns the transaction.
CREATE FUNCTION ledger.move_money(
    transaction_id uuid, of_sender uuid, of_receiver uuid, of_amount bigint, released bigint,
    of_type ledger.transaction_type, of_origin_type ledger.transaction_origin, of_origin uuid,
    of_description text, of_actor uuid, of_request text, of_address text, moment timestamptz
) RETURNS ledger.transactions
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    sender   ledger.accounts;
    receiver ledger.accounts;
    moved    ledger.transactions;
BEGIN
    UPDATE ledger.accounts a
    SET balance = a.balance - of_amount, held = a.held - released, version = a.version + 1,
        sequence = a.sequence + 1
    WHERE a.id = of_sender RETURNING * INTO STRICT sender;
    PERFORM ledger.record_held(ARRAY[sender.id], ARRAY[sender.held + released],
                               ARRAY[sender.held::bigint], ARRAY[sender.sequence], moment);
    UPDATE ledger.accounts a
    SET balance = a.balance + of_amount, version = a.version + 1, sequence = a.sequence + 1
    WHERE a.id = of_receiver RETURNING * INTO STRICT receiver;
    INSERT INTO ledger.transactions (id, sender_id, receiver_id, amount, created_at,
                                     sender_version, receiver_version, origin_id, origin_type,
                                     type, status, currency, description, metadata)
    VALUES (transaction_id, sender.id, receiver.id, of_amount, moment, sender.version,
            receiver.version, of_origin, of_origin_type, of_type, 'completed', receiver.currency,
            of_description, '{}')
    RETURNING * INTO moved;
    INSERT INTO ledger.entries (account_id, transaction_id, version, sequence, amount,
                                balance_after, held_after, created_at)
    VALUES (sender.id, transaction_id, sender.version, sender.sequence, -of_amount,
            sender.balance, NULLIF(sender.held, 0), moment),
           (receiver.id, transaction_id, receiver.version, receiver.sequence, of_amount,
            receiver.balance, NULLIF(receiver.held, 0), moment);
    PERFORM ledger.add_event(sender, 'transaction.completed', transaction_id, NULL, NULL, NULL,
                             moment),
            ledger.add_event(receiver, 'transaction.completed', transaction_id, NULL, NULL, NULL,
                             moment);
    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address)
    VALUES (moment, of_actor, transaction_id, 'transaction.completed', of_request, of_address);
    RETURN moved;
END
$$;

-- Adds an event without a request under the sequence that an account has now; none for a system
-- account.
CREATE FUNCTION ledger.add_event(
    account ledger.accounts, type text, of_transaction uuid, of_hold uuid, data json,
    previous json, moment timestamptz
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF account.user_id IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO outbox.events (account_id, sequence, transaction_id, hold_id, created_at, type,
                               data, previous)
    VALUES (account.id, account.sequence, of_transaction, of_hold, moment, type, data, previous);
    IF account.subscribed THEN
        PERFORM webhooks.enqueue(ARRAY[account.id], ARRAY[account.sequence], ARRAY[type]);
    END IF;
END
$$;

-- The next step of an account's sequence, with its event; nothing for a system account. Returns the
-- account.
CREATE FUNCTION ledger.add_step(
    of_account uuid, released bigint, given_back bigint, type text, of_transaction uuid,
    of_hold uuid, data json, previous json, moment timestamptz
) RETURNS ledger.accounts
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    account ledger.accounts;
BEGIN
    UPDATE ledger.accounts a
    SET sequence = a.sequence + 1, held = a.held - released,
        sent_today = CASE a.sent_on WHEN (moment AT TIME ZONE 'UTC')::date
                                    THEN GREATEST(a.sent_today - given_back, 0)
                                    ELSE a.sent_today END
    WHERE a.id = of_account AND a.user_id IS NOT NULL RETURNING * INTO account;
    PERFORM ledger.record_held(ARRAY[account.id], ARRAY[account.held + released],
                               ARRAY[account.held::bigint], ARRAY[account.sequence], moment);
    PERFORM ledger.add_event(account, type, of_transaction, of_hold, data, previous, moment);
    RETURN account;
END
$$;

-- A transaction as operators see it: both parties, and the reference outside.
CREATE FUNCTION ledger.operator_transaction(t ledger.transactions, reference text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'id', ledger.type_id('txn', t.id), 'object', 'transaction', 'type', t.type,
        'status', t.status, 'amount', t.amount, 'currency', t.currency,
        'sender_id', ledger.type_id('acc', t.sender_id),
        'receiver_id', ledger.type_id('acc', t.receiver_id), 'description', t.description,
        'reference', reference, 'origin', ledger.type_id(CASE t.origin_type
            WHEN 'withdrawal' THEN 'wdr' WHEN 'transaction' THEN 'txn' WHEN 'hold' THEN 'hld'
            WHEN 'payment_request' THEN 'prq' WHEN 'schedule' THEN 'sch' END, t.origin_id),
        'created_at', ledger.format_timestamp(t.created_at))::text
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
