-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- An account for a user, with a balance of 0 and the default limits. Called in the transaction that
-- adds the user. Without a user there is no account, so no caller can open a system account.
CREATE FUNCTION ledger.open_account(
    id uuid, user_id uuid, currency text, single bigint DEFAULT NULL, daily bigint DEFAULT NULL
) RETURNS ledger.accounts
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    opened ledger.accounts;
BEGIN
    IF num_nulls(id, user_id, currency) > 0 THEN
        RETURN NULL;
    ELSIF currency !~ '^[A-Z]{3}$' THEN
        RAISE EXCEPTION 'currency is not an ISO 4217 code'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF NOT EXISTS (SELECT FROM identity.users u WHERE u.id = open_account.user_id) THEN
        RAISE EXCEPTION 'user_id is not a user'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (COALESCE(single, 1) BETWEEN 1 AND 9007199254740991
        AND COALESCE(daily, 1) BETWEEN 1 AND 9007199254740991) IS NOT TRUE THEN
        RAISE EXCEPTION 'a limit is 1 to 9007199254740991'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO ledger.accounts (id, user_id, currency, limit_single, limit_daily)
    VALUES (id, user_id, currency, single, daily) RETURNING * INTO opened;
    IF COALESCE(single, daily) IS NOT NULL THEN
        INSERT INTO ledger.account_limits (account_id, ceiling_single, ceiling_daily)
        VALUES (id, single, daily);
    END IF;
    RETURN opened;
END
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
        'limits', ledger.limits_object(account),
        'created_at', ledger.format_timestamp(account.created_at))
$$;

-- The system account of a currency; opened when it is first needed.
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

-- How each operator command begins: locks a user's account and the system account of its currency,
-- in id order as every function that locks accounts, and looks up the key among those of the system
-- account, whose lock serialises them. Outcome is null where the command may go on; else not_found,
-- duplicate with the stored answer, or idempotency_key_reuse.
CREATE FUNCTION ledger.begin_operator_command(
    of_account uuid, of_key text, of_fingerprint bytea,
    OUT account ledger.accounts, OUT system ledger.accounts, OUT outcome text, OUT answer text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    system_id uuid;
    stored    ledger.idempotency_keys;
BEGIN
    IF (octet_length(of_key) BETWEEN 1 AND 255 AND of_key !~ '[^!-~]') IS NOT TRUE THEN
        RAISE EXCEPTION 'a key has 1 to 255 visible ASCII characters'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO account FROM ledger.accounts a WHERE a.id = of_account AND a.user_id IS NOT NULL;
    IF NOT FOUND THEN
        outcome := 'not_found';
        RETURN;
    END IF;
    system_id := ledger.system_account(account.currency);
    PERFORM FROM ledger.accounts a WHERE a.id IN (of_account, system_id)
    ORDER BY a.id FOR NO KEY UPDATE;
    SELECT * INTO account FROM ledger.accounts a WHERE a.id = of_account;
    SELECT * INTO system FROM ledger.accounts a WHERE a.id = system_id;

    SELECT * INTO stored FROM ledger.idempotency_keys k
    WHERE k.principal_id = system_id AND k.key = of_key;
    IF FOUND THEN
        outcome := CASE WHEN stored.fingerprint = of_fingerprint
                        THEN 'duplicate' ELSE 'idempotency_key_reuse' END;
        answer := stored.answer;
    END IF;
END
$$;

-- Operator: money from the outside world into a user's account. Idempotent by key. Never granted to
-- finpay_app: it creates money. Returns the outcome, as those of ledger.post_transfers, and the
-- stored answer.
CREATE FUNCTION ledger.fund(
    transaction_id uuid, of_account uuid, of_amount bigint, of_key text, of_fingerprint bytea,
    OUT outcome text, OUT answer text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    command  record;
    receiver ledger.accounts;
    system   ledger.accounts;
    now      timestamptz;
BEGIN
    IF (of_amount BETWEEN 1 AND 9007199254740991) IS NOT TRUE THEN
        RAISE EXCEPTION 'an amount is 1 to 9007199254740991'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    command  := ledger.begin_operator_command(of_account, of_key, of_fingerprint);
    receiver := command.account;
    system   := command.system;
    outcome  := command.outcome;
    answer   := command.answer;
    now      := clock_timestamp();
    IF outcome IS NOT NULL THEN
        RETURN;
    ELSIF receiver.status <> 'active' THEN
        outcome := 'receiver_unavailable';
        RETURN;
    ELSIF receiver.balance > 9007199254740991 - of_amount THEN
        outcome := 'balance_limit';
        RETURN;
    END IF;

    PERFORM ledger.move_money(transaction_id, system.id, receiver.id, of_amount, 0, 'funding', NULL,
                              NULL, NULL, NULL, 'operator:' || of_key, NULL, now);
    SELECT * INTO receiver FROM ledger.accounts a WHERE a.id = receiver.id;
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
-- account's sequence with one account.updated event; the status that the account already has
-- changes nothing.
CREATE FUNCTION ledger.set_status(
    of_account uuid, new_status text, reason text, of_key text, of_fingerprint bytea,
    OUT outcome text, OUT answer text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    command    record;
    account    ledger.accounts;
    old_status text;
    now        timestamptz;
BEGIN
    command := ledger.begin_operator_command(of_account, of_key, of_fingerprint);
    account := command.account;
    outcome := command.outcome;
    answer  := command.answer;
    now     := clock_timestamp();
    IF outcome IS NOT NULL THEN
        RETURN;
    ELSIF account.status = 'closed' THEN
        outcome := 'not_found';
        RETURN;
    END IF;

    old_status := account.status;
    IF old_status <> new_status THEN
        account := ledger.write_status(
            of_account, new_status::ledger.account_status, reason, NULL, 'operator:' || of_key,
            NULL, now);
    END IF;
    outcome := 'completed';
    answer := json_build_object('account_id', account.public_id, 'status', new_status,
                                'previous', old_status)::text;
    INSERT INTO ledger.idempotency_keys (principal_id, created_at, http_status, key, fingerprint,
                                         answer)
    VALUES ((command.system).id, now, 200, of_key, of_fingerprint, answer);
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
