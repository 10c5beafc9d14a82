-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- How an account is closed, and how its stored answers and events are erased afterwards.

-- The address of a person who left is kept from others for a while, so that no other user is
-- taken for them: only a hash of it, which shows whether an address is the same.
CREATE TABLE identity.closed_emails (
    email_hash bytea       NOT NULL,
    free_at    timestamptz NOT NULL,
    CONSTRAINT closed_emails_pkey PRIMARY KEY (email_hash)
);

-- Closed accounts whose stored answers and events are not all erased yet: answers up to a key are.
CREATE TABLE ledger.erasures (
    account_id uuid NOT NULL,
    user_id    uuid NOT NULL,
    up_to_key  text NOT NULL DEFAULT '',
    CONSTRAINT erasures_pkey PRIMARY KEY (account_id)
);

-- Erases the bodies of at most so many stored answers of one closed account, of which key,
-- fingerprint and status stay, and then its events, as retention does later. Returns how many, and
-- null when there is no such account. Any caller may do this at any time.
CREATE FUNCTION ledger.erase_closed_account(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    erasure ledger.erasures;
    keys    text[];
    events  integer := 0;
BEGIN
    IF (most BETWEEN 1 AND 10000) IS NOT TRUE THEN
        RAISE EXCEPTION 'most is 1 to 10000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO erasure FROM ledger.erasures ORDER BY account_id LIMIT 1
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(k.key) INTO keys
    FROM (SELECT p.key FROM ledger.idempotency_keys p
          WHERE p.principal_id = erasure.user_id AND p.key > erasure.up_to_key
          ORDER BY p.key LIMIT most) k;
    UPDATE ledger.idempotency_keys k SET answer = ''
    WHERE k.principal_id = erasure.user_id AND k.key = ANY (keys);
    IF cardinality(keys) = most THEN
        UPDATE ledger.erasures e SET up_to_key = keys[most]
        WHERE e.account_id = erasure.account_id;
        RETURN most;
    END IF;
    WITH deleted AS (
        DELETE FROM outbox.events v WHERE v.account_id = erasure.account_id
            AND v.sequence = ANY (ARRAY(
                SELECT o.sequence FROM outbox.events o WHERE o.account_id = erasure.account_id
                ORDER BY o.sequence LIMIT most))
        RETURNING v.sequence
    ), raised AS (
        INSERT INTO outbox.retention_watermarks AS w (account_id, up_to_sequence)
        SELECT erasure.account_id, max(d.sequence) FROM deleted d HAVING count(*) > 0
        ON CONFLICT (account_id) DO UPDATE
            SET up_to_sequence = GREATEST(w.up_to_sequence, excluded.up_to_sequence)
    )
    SELECT count(*) INTO events FROM deleted;
    IF events < most THEN
        DELETE FROM ledger.erasures e WHERE e.account_id = erasure.account_id;
    END IF;
    RETURN COALESCE(cardinality(keys), 0) + events;
END
$$;

-- Closes the account of a user, once nothing is left in it: fault is null, or account_frozen, or
-- account_not_closable with what is open. Open payment requests and schedules end with it. What is
-- personal in the ledger is erased: destinations now, bodies of stored answers and events by
-- ledger.erase_closed_account. Its rows stay under the id. 40001 where a payer of an open request
-- appeared meanwhile; the caller retries.
--
-- Locks: the account and those of the payers of its open requests, in id order.
CREATE FUNCTION ledger.close_account(
    origin ledger.change_origin, public_url text,
    OUT fault text, OUT balance bigint, OUT holds bigint, OUT withdrawals bigint,
    OUT approvals bigint
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    account  ledger.accounts;
    request  ledger.payment_requests;
    schedule ledger.schedules;
    payer    uuid;
    parties  uuid[];
    moment   timestamptz;
BEGIN
    IF ledger.origin_error(origin) IS NOT NULL OR origin.key IS NOT NULL
       OR octet_length(public_url) > 2048 THEN
        RAISE EXCEPTION 'an argument is not valid' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO account FROM ledger.accounts a WHERE a.user_id = origin.user_id;
    IF NOT FOUND OR account.status = 'closed' THEN
        RAISE EXCEPTION 'the user has no account' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(COALESCE(r.payer_id, ledger.account_of_email(r.payer_email))) INTO parties
    FROM ledger.payment_requests r
    WHERE r.account_id = account.id AND r.requester_id = account.id AND r.status = 'open';
    PERFORM FROM ledger.accounts a WHERE a.id = account.id OR a.id = ANY (parties)
    ORDER BY a.id FOR NO KEY UPDATE;
    moment := clock_timestamp();
    SELECT * INTO account FROM ledger.accounts a WHERE a.id = account.id;
    balance := account.balance;
    SELECT count(*) INTO holds FROM ledger.holds h
    WHERE h.account_id = account.id AND h.status = 'open';
    SELECT count(*) INTO withdrawals FROM ledger.withdrawals w
    WHERE w.account_id = account.id AND w.status = 'pending';
    SELECT count(*) INTO approvals FROM ledger.approvals p
    WHERE p.status = 'pending' AND p.account_id = account.id AND p.expires_at > moment;
    fault := CASE
        WHEN account.status = 'closed' THEN 'account_closed'
        WHEN account.status = 'frozen' THEN 'account_frozen'
        WHEN balance <> 0 OR holds + withdrawals + approvals > 0 THEN 'account_not_closable' END;
    IF fault IS NOT NULL THEN
        RETURN;
    END IF;

    FOR request IN
        SELECT * FROM ledger.payment_requests r
        WHERE r.account_id = account.id AND r.requester_id = account.id AND r.status = 'open'
        ORDER BY r.id
    LOOP
        payer := COALESCE(request.payer_id, ledger.account_of_email(request.payer_email));
        IF payer IS NOT NULL AND (payer = ANY (parties)) IS NOT TRUE THEN
            RAISE EXCEPTION 'a payer appeared' USING ERRCODE = 'serialization_failure';
        END IF;
        PERFORM ledger.close_payment_request(
            request, payer, (CASE WHEN request.expires_at <= moment THEN 'expired'
                                  ELSE 'canceled' END)::ledger.payment_request_status,
            origin, public_url, moment);
    END LOOP;
    FOR schedule IN
        SELECT * FROM ledger.schedules s
        WHERE s.account_id = account.id AND s.status <> 'ended' ORDER BY s.id
    LOOP
        PERFORM ledger.change_schedule(origin, schedule.id, 'cancel');
    END LOOP;
    UPDATE ledger.accounts a SET status = 'closed', sequence = a.sequence + 1
    WHERE a.id = account.id RETURNING * INTO account;
    INSERT INTO outbox.events (account_id, sequence, actor_id, created_at, type, request_id, data,
                               previous)
    VALUES (account.id, account.sequence, origin.user_id, moment, 'account.updated',
            origin.request_id, ledger.account_object(account), '{"status":"active"}');
    INSERT INTO ledger.status_changes (account_id, sequence, created_at, status, reason)
    VALUES (account.id, account.sequence, moment, 'closed', 'Closed by its owner');
    UPDATE identity.users u SET role = 'user' WHERE u.id = origin.user_id AND u.role <> 'user';
    IF FOUND THEN  -- an approval that they asked for is not carried out any more
        PERFORM ledger.record_change(origin.user_id, 'role.changed', origin, moment);
    END IF;
    UPDATE ledger.account_limits l
    SET pending_single = NULL, pending_daily = NULL, effective_at = NULL
    WHERE l.account_id = account.id;
    UPDATE ledger.withdrawals w SET destination = '{}' WHERE w.account_id = account.id;
    INSERT INTO ledger.erasures (account_id, user_id) VALUES (account.id, origin.user_id);
    PERFORM ledger.record_change(account.id, 'account.closed', origin, moment);
END
$$;

GRANT EXECUTE ON FUNCTION ledger.close_account, ledger.erase_closed_account TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
