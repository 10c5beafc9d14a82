-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- An account for a user, with nothing in it. Called in the transaction that makes the user.
-- Strict: without a user there is no account, so no caller can open a system account.
CREATE FUNCTION ledger.open_account(id uuid, user_id uuid, currency text) RETURNS ledger.accounts
LANGUAGE sql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO ledger.accounts (id, user_id, currency) VALUES (id, user_id, currency) RETURNING *
$$;

-- A moment as the API writes it.
CREATE FUNCTION ledger.wire_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- An account as the API shows it to its owner, for events: finpay.ledger.resources.Account.
CREATE FUNCTION ledger.account_object(account ledger.accounts) RETURNS json
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'id', account.public_id, 'object', 'account', 'balance', account.balance,
        'available', account.balance - account.held, 'held', account.held,
        'currency', account.currency, 'status', account.status, 'version', account.version,
        'created_at', ledger.wire_time(account.created_at))
$$;

-- The outside world in one currency; made when it is first needed.
CREATE FUNCTION ledger.system_account(of_currency text) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found uuid;
BEGIN
    INSERT INTO ledger.accounts (id, currency) VALUES (gen_random_uuid(), of_currency)
    ON CONFLICT (currency) WHERE user_id IS NULL DO NOTHING;
    SELECT a.id INTO STRICT found
    FROM ledger.accounts a WHERE a.currency = of_currency AND a.user_id IS NULL;
    RETURN found;
END
$$;

-- Operator: money from the outside world into a user's account. Idempotent by key; the same key
-- with another fingerprint is refused. Never granted to finpay_app: it is what creates money.
-- Answers the outcome and the stored answer. Outcomes as in ledger.post_transfers.
CREATE FUNCTION ledger.fund(
    transaction_id uuid, of_account uuid, of_amount bigint, of_key text, of_fingerprint bytea,
    OUT outcome text, OUT answer text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    receiver  ledger.accounts;
    system    ledger.accounts;
    system_id uuid;
    stored    ledger.idempotency_keys;
    now       timestamptz;
BEGIN
    SELECT * INTO receiver FROM ledger.accounts a WHERE a.id = of_account AND a.user_id IS NOT NULL;
    IF NOT FOUND THEN
        outcome := 'receiver_not_found';
        RETURN;
    END IF;
    system_id := ledger.system_account(receiver.currency);
    -- In id order, as every function that locks accounts does. The system account's lock also
    -- serialises the operator's keys.
    PERFORM FROM ledger.accounts a WHERE a.id IN (of_account, system_id)
    ORDER BY a.id FOR NO KEY UPDATE;
    SELECT * INTO receiver FROM ledger.accounts a WHERE a.id = of_account;
    SELECT * INTO system FROM ledger.accounts a WHERE a.id = system_id;
    now := clock_timestamp();

    SELECT * INTO stored FROM ledger.idempotency_keys k
    WHERE k.principal_id = system.id AND k.key = of_key;
    IF FOUND THEN
        outcome := CASE WHEN stored.fingerprint = of_fingerprint
                        THEN 'duplicate' ELSE 'idempotency_key_reuse' END;
        answer := stored.answer;
        RETURN;
    ELSIF receiver.status = 'frozen' THEN
        outcome := 'receiver_unavailable';
        RETURN;
    ELSIF receiver.balance > 9007199254740991 - of_amount THEN
        outcome := 'balance_limit';
        RETURN;
    END IF;

    UPDATE ledger.accounts a
    SET balance = a.balance - of_amount, version = a.version + 1, sequence = a.sequence + 1
    WHERE a.id = system.id RETURNING * INTO system;
    UPDATE ledger.accounts a
    SET balance = a.balance + of_amount, version = a.version + 1, sequence = a.sequence + 1
    WHERE a.id = receiver.id RETURNING * INTO receiver;
    INSERT INTO ledger.transactions (id, sender_id, receiver_id, amount, created_at,
                                     sender_version, receiver_version,
                                     type, status, currency, metadata)
    VALUES (transaction_id, system.id, receiver.id, of_amount, now,
            system.version, receiver.version, 'funding', 'completed', receiver.currency, '{}');
    INSERT INTO ledger.entries (account_id, transaction_id, version, sequence, amount,
                                balance_after, created_at)
    VALUES (system.id, transaction_id, system.version, system.sequence, -of_amount,
            system.balance, now),
           (receiver.id, transaction_id, receiver.version, receiver.sequence, of_amount,
            receiver.balance, now);
    INSERT INTO outbox.events (account_id, sequence, transaction_id, created_at, type)
    VALUES (receiver.id, receiver.sequence, transaction_id, now, 'transaction.completed');
    IF receiver.subscribed THEN
        PERFORM webhooks.enqueue(
            ARRAY[receiver.id], ARRAY[receiver.sequence], ARRAY['transaction.completed']);
    END IF;
    INSERT INTO audit.log (created_at, subject_id, action, request_id)
    VALUES (now, transaction_id, 'transaction.completed', 'operator:' || of_key);
    outcome := 'completed';
    answer := json_build_object(
        'transaction_id', ledger.type_id('txn', transaction_id), 'account_id', receiver.public_id,
        'amount', of_amount, 'currency', receiver.currency, 'balance', receiver.balance)::text;
    INSERT INTO ledger.idempotency_keys (principal_id, transaction_id, created_at, http_status,
                                         key, fingerprint, answer)
    VALUES (system.id, transaction_id, now, 201, of_key, of_fingerprint, answer);
END
$$;

-- Operator: freeze or unfreeze. A frozen account neither sends nor receives. One step of the
-- account's sequence with one account.updated event; setting what is set already changes nothing.
CREATE FUNCTION ledger.set_status(
    of_account uuid, new_status text, reason text, of_key text, of_fingerprint bytea,
    OUT outcome text, OUT answer text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    account ledger.accounts;
    system  uuid;
    stored  ledger.idempotency_keys;
    was     text;
    now     timestamptz;
BEGIN
    SELECT * INTO account FROM ledger.accounts a WHERE a.id = of_account AND a.user_id IS NOT NULL;
    IF NOT FOUND THEN
        outcome := 'not_found';
        RETURN;
    END IF;
    system := ledger.system_account(account.currency);
    PERFORM FROM ledger.accounts a WHERE a.id IN (of_account, system)
    ORDER BY a.id FOR NO KEY UPDATE;
    SELECT * INTO account FROM ledger.accounts a WHERE a.id = of_account;
    now := clock_timestamp();

    SELECT * INTO stored FROM ledger.idempotency_keys k
    WHERE k.principal_id = system AND k.key = of_key;
    IF FOUND THEN
        outcome := CASE WHEN stored.fingerprint = of_fingerprint
                        THEN 'duplicate' ELSE 'idempotency_key_reuse' END;
        answer := stored.answer;
        RETURN;
    END IF;

    was := account.status;
    IF was <> new_status THEN
        UPDATE ledger.accounts a SET status = new_status, sequence = a.sequence + 1
        WHERE a.id = of_account RETURNING * INTO account;
        INSERT INTO outbox.events (account_id, sequence, created_at, type, data, previous)
        VALUES (account.id, account.sequence, now, 'account.updated',
                ledger.account_object(account), json_build_object('status', was));
        IF account.subscribed THEN
            PERFORM webhooks.enqueue(
                ARRAY[account.id], ARRAY[account.sequence], ARRAY['account.updated']);
        END IF;
        INSERT INTO audit.log (created_at, subject_id, action, request_id, detail)
        VALUES (now, account.id, 'account.updated', 'operator:' || of_key, json_build_object(
            'status', new_status, 'previous', was, 'reason', reason));
    END IF;
    outcome := 'completed';
    answer := json_build_object('account_id', account.public_id, 'status', new_status,
                                'previous', was)::text;
    INSERT INTO ledger.idempotency_keys (principal_id, created_at, http_status, key, fingerprint,
                                         answer)
    VALUES (system, now, 200, of_key, of_fingerprint, answer);
END
$$;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
