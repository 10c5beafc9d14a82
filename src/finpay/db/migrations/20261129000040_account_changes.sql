-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What the functions of payment requests and schedules share. Each of them decides under the lock
-- of the owner's account, answers under an optional idempotency key, and records events and audit
-- in the same commit. None of this file is executed by finpay_app itself.

-- What became of one change. `outcome` is one of ledger.outcome, or validation_failed with
-- `invalid` naming the rule; `status_now` is the status that stood in the way.
CREATE TYPE ledger.change_result AS (
    outcome     text,
    http_status smallint,
    answer      text,
    fingerprint bytea,  -- what the key belongs to
    status_now  text,
    invalid     text
);

-- Who changes something, in which request. The user is null for a worker.
CREATE TYPE ledger.change_origin AS (
    user_id     uuid,
    request_id  text,
    address     text,
    key         text,   -- null: without a key
    fingerprint bytea
);

-- The first fault of an origin, or null.
CREATE FUNCTION ledger.origin_error(origin ledger.change_origin) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN origin.user_id IS NULL THEN 'the user is null'
    WHEN octet_length(origin.request_id) NOT BETWEEN 1 AND 128 OR origin.request_id IS NULL
        THEN 'a request id has 1 to 128 bytes'
    WHEN octet_length(origin.address) > 64 THEN 'an address has at most 64 bytes'
    WHEN (origin.key IS NULL) <> (origin.fingerprint IS NULL)
        THEN 'a key and its fingerprint belong together'
    WHEN octet_length(origin.key) NOT BETWEEN 1 AND 255 OR origin.key ~ '[^!-~]'
        THEN 'a key has 1 to 255 visible ASCII characters'
    WHEN octet_length(origin.fingerprint) > 64 THEN 'a fingerprint has at most 64 bytes'
END;

-- What the key was answered before; the outcome is null where it is new. The caller has locked the
-- user's account, so that it sees every key committed before.
CREATE FUNCTION ledger.stored_result(origin ledger.change_origin) RETURNS ledger.change_result
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    stored ledger.idempotency_keys;
    result ledger.change_result;
BEGIN
    IF origin.key IS NULL THEN
        RETURN result;
    END IF;
    SELECT * INTO stored FROM ledger.idempotency_keys k
    WHERE k.principal_id = origin.user_id AND k.key = origin.key;
    IF FOUND THEN
        result.outcome := CASE WHEN stored.fingerprint = origin.fingerprint
                               THEN 'duplicate' ELSE 'idempotency_key_reuse' END;
        result.http_status := stored.http_status;
        result.answer      := stored.answer;
        result.fingerprint := stored.fingerprint;
    END IF;
    RETURN result;
END
$$;

-- Stores a result with its key, if there is one, and returns it. A refusal has an audit row where
-- it is stored: `action` names it.
CREATE FUNCTION ledger.store_result(
    result ledger.change_result, origin ledger.change_origin, action text, moment timestamptz
) RETURNS ledger.change_result
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    result.fingerprint := origin.fingerprint;
    IF origin.key IS NOT NULL THEN
        INSERT INTO ledger.idempotency_keys (principal_id, created_at, http_status, key,
                                             fingerprint, answer)
        VALUES (origin.user_id, moment, result.http_status, origin.key, origin.fingerprint,
                result.answer);
        IF result.http_status >= 400 THEN
            INSERT INTO audit.log (created_at, actor_id, action, request_id, address, detail)
            VALUES (moment, origin.user_id, action, origin.request_id, origin.address,
                    json_build_object('code', result.outcome));
        END IF;
    END IF;
    RETURN result;
END
$$;

-- Adds an event about something other than a transaction, under the next sequence of an account
-- that the caller has locked. Actor and request are those of the account's own user alone.
CREATE FUNCTION ledger.record_event(
    of_account uuid, type text, data text, previous json, origin ledger.change_origin,
    moment timestamptz
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    account ledger.accounts;
    is_own  boolean;
BEGIN
    UPDATE ledger.accounts a SET sequence = a.sequence + 1 WHERE a.id = of_account
    RETURNING * INTO STRICT account;
    is_own := account.user_id = origin.user_id;
    INSERT INTO outbox.events (account_id, sequence, actor_id, created_at, type, request_id,
                               idempotency_key, data, previous)
    VALUES (of_account, account.sequence, CASE WHEN is_own THEN origin.user_id END, moment, type,
            CASE WHEN is_own THEN origin.request_id END, CASE WHEN is_own THEN origin.key END,
            data::json, previous);
    IF account.subscribed THEN
        PERFORM webhooks.enqueue(ARRAY[of_account], ARRAY[account.sequence], ARRAY[type]);
    END IF;
END
$$;

-- Adds an audit row of a change.
CREATE FUNCTION ledger.record_change(
    subject uuid, action text, origin ledger.change_origin, moment timestamptz
) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address)
    VALUES (moment, origin.user_id, subject, action, origin.request_id, origin.address)
$$;

-- A moment as a JSON string, or null.
CREATE FUNCTION ledger.json_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN COALESCE('"' || to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"',
                'null');

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
