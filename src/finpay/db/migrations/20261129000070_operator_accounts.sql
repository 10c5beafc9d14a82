-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What operators do to accounts: they freeze and unfreeze them.

-- Each change of an account's status, with the reason that operators read.
CREATE TABLE ledger.status_changes (
    account_id  uuid        NOT NULL,
    operator_id uuid,                  -- null: the command line
    sequence    bigint      NOT NULL,  -- of the account, that of its event
    created_at  timestamptz NOT NULL,
    status      ledger.account_status NOT NULL,
    reason      text        NOT NULL,
    CONSTRAINT status_changes_pkey PRIMARY KEY (account_id, sequence)
);
CREATE TRIGGER status_changes_append_only BEFORE UPDATE OR DELETE ON ledger.status_changes
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER status_changes_no_truncate BEFORE TRUNCATE ON ledger.status_changes
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();

-- Writes another status of a locked account: one step of its sequence with its event, the reason,
-- the audit row. Returns the account.
CREATE FUNCTION ledger.write_status(
    of_account uuid, new_status ledger.account_status, of_reason text, of_operator uuid,
    of_request text, of_address text, moment timestamptz
) RETURNS ledger.accounts
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    former  ledger.account_status;
    account ledger.accounts;
BEGIN
    SELECT a.status INTO STRICT former FROM ledger.accounts a WHERE a.id = of_account;
    UPDATE ledger.accounts a SET status = new_status, sequence = a.sequence + 1
    WHERE a.id = of_account RETURNING * INTO account;
    PERFORM ledger.add_event(account, 'account.updated', NULL, NULL, ledger.account_object(account),
                             json_build_object('status', former), moment);
    INSERT INTO ledger.status_changes (account_id, operator_id, sequence, created_at, status,
                                       reason)
    VALUES (of_account, of_operator, account.sequence, moment, new_status, of_reason);
    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address, detail)
    VALUES (moment, of_operator, of_account, 'account.updated', of_request, of_address,
            json_build_object('status', new_status, 'previous', former, 'reason', of_reason));
    RETURN account;
END
$$;

-- Operator: freezes or unfreezes an account. The status that it has already changes nothing, and
-- leaves nothing behind.
CREATE FUNCTION ledger.change_status(
    origin ledger.operator_origin, of_account uuid, new_status text, of_reason text
) RETURNS ledger.operator_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    account   ledger.accounts;
    system_id uuid;
    moment    timestamptz;
    result    ledger.operator_result;
BEGIN
    PERFORM ledger.check_operator_origin(origin);
    IF (char_length(of_reason) BETWEEN 1 AND 500
        AND new_status IN ('active', 'frozen')) IS NOT TRUE THEN
        RAISE EXCEPTION 'a status or a reason is not valid'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO account FROM ledger.accounts a
    WHERE a.id = of_account AND a.user_id IS NOT NULL AND a.status <> 'closed';
    IF NOT FOUND THEN
        RETURN ledger.unknown_result(origin, 'not_found');
    END IF;
    system_id := ledger.system_account(account.currency);
    PERFORM FROM ledger.accounts a WHERE a.id IN (of_account, system_id)
    ORDER BY a.id FOR NO KEY UPDATE;
    moment := clock_timestamp();
    result := ledger.stored_operator_result(origin, system_id);
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;
    SELECT * INTO account FROM ledger.accounts a WHERE a.id = of_account;
    result.outcome := CASE
        WHEN NOT ledger.is_operator(origin.operator_id)
            OR origin.operator_id = account.user_id THEN 'forbidden'
        WHEN account.status = 'closed' THEN 'not_found'
        ELSE 'completed' END;
    result.http_status := ledger.http_status(result.outcome::ledger.outcome, 'cancel');
    IF result.outcome = 'completed' THEN
        IF account.status::text = new_status THEN
            result.answer := ledger.account_object(account)::text;
            RETURN result;
        END IF;
        account := ledger.write_status(
            of_account, new_status::ledger.account_status, of_reason, origin.operator_id,
            origin.request_id, origin.address, moment);
        result.users := ARRAY[account.user_id];
        result.answer := ledger.account_object(account)::text;
    END IF;
    RETURN ledger.store_operator_result(result, origin, system_id, NULL, moment);
END
$$;

GRANT EXECUTE ON FUNCTION ledger.change_status TO finpay_operator;
-- Read by the API's own role, as everything is that operators see.
GRANT EXECUTE ON FUNCTION ledger.operator_transaction, ledger.approval_object TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
