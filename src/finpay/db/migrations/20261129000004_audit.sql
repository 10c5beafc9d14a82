-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The audit log: its closed list of actions, its rows, and the functions that write them.

-- The closed list of actions: what each is about, and who records it, the ledger's own functions or
-- the app through audit.record. `finpay ledger verify` finds rows of any other action.
CREATE TABLE audit.actions (
    action      text NOT NULL,
    subject     text NOT NULL,
    recorded_by text NOT NULL,
    CONSTRAINT actions_pkey PRIMARY KEY (action),
    CONSTRAINT actions_action CHECK (action ~ '^[a-z_]+[.][a-z_]+$'),
    CONSTRAINT actions_subject
        CHECK (subject IN ('account', 'api_key', 'hold', 'payment_request', 'schedule', 'session',
                           'transaction', 'user', 'webhook_endpoint', 'withdrawal')),
    CONSTRAINT actions_recorded_by CHECK (recorded_by IN ('ledger', 'app'))
);
INSERT INTO audit.actions (action, subject, recorded_by) VALUES
    ('account.closed', 'account', 'ledger'),
    ('account.created', 'account', 'app'),
    ('account.updated', 'account', 'ledger'),
    ('api_key.created', 'api_key', 'app'),
    ('approval.approved', 'account', 'ledger'),
    ('approval.rejected', 'account', 'ledger'),
    ('approval.requested', 'account', 'ledger'),
    ('api_key.revoked', 'api_key', 'app'),
    ('email.verification_requested', 'user', 'app'),
    ('email.verified', 'user', 'app'),
    ('hold.created', 'hold', 'ledger'),
    ('hold.voided', 'hold', 'ledger'),
    ('login.failed', 'user', 'app'),
    ('password.change_failed', 'user', 'app'),
    ('password.changed', 'user', 'app'),
    ('password.reset', 'user', 'app'),
    ('password.reset_requested', 'user', 'app'),
    ('payment_request.canceled', 'payment_request', 'ledger'),
    ('payment_request.created', 'payment_request', 'ledger'),
    ('payment_request.declined', 'payment_request', 'ledger'),
    ('payment_request.expired', 'payment_request', 'ledger'),
    ('payment_request.paid', 'payment_request', 'ledger'),
    ('payment_request.refused', 'payment_request', 'ledger'),
    ('role.changed', 'user', 'ledger'),
    ('schedule.created', 'schedule', 'ledger'),
    ('schedule.ended', 'schedule', 'ledger'),
    ('schedule.paused', 'schedule', 'ledger'),
    ('schedule.refused', 'schedule', 'ledger'),
    ('schedule.resumed', 'schedule', 'ledger'),
    ('second_factor.disabled', 'user', 'app'),
    ('second_factor.enabled', 'user', 'app'),
    ('second_factor.failed', 'user', 'app'),
    ('session.created', 'session', 'app'),
    ('session.refreshed', 'session', 'app'),
    ('session.revoked', 'session', 'app'),
    ('sessions.ended', 'user', 'app'),
    ('transaction.completed', 'transaction', 'ledger'),
    ('transaction.failed', 'transaction', 'ledger'),
    ('transaction.refused', 'transaction', 'ledger'),
    ('user.registered', 'user', 'app'),
    ('user.updated', 'user', 'app'),
    ('webhook_endpoint.created', 'webhook_endpoint', 'app'),
    ('webhook_endpoint.deleted', 'webhook_endpoint', 'app'),
    ('webhook_endpoint.disabled', 'webhook_endpoint', 'app'),
    ('webhook_endpoint.secret_rotated', 'webhook_endpoint', 'app'),
    ('webhook_endpoint.updated', 'webhook_endpoint', 'app'),
    ('withdrawal.canceled', 'withdrawal', 'ledger'),
    ('withdrawal.completed', 'withdrawal', 'ledger'),
    ('withdrawal.created', 'withdrawal', 'ledger'),
    ('withdrawal.rejected', 'withdrawal', 'ledger');

-- Who did what, to what, when, from which address, in which request. Append-only.
CREATE TABLE audit.log (
    id         bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    created_at timestamptz NOT NULL,
    actor_id   uuid,                  -- the user; null for operators and anonymous callers
    subject_id uuid,                  -- the transaction, account, user, session or endpoint
    action     text        NOT NULL,  -- of audit.actions
    request_id text,
    address    text,                  -- the client's IP address
    detail     json,                  -- what else an investigator needs; never a secret
    CONSTRAINT log_pkey PRIMARY KEY (id)
);
CREATE TRIGGER log_append_only BEFORE UPDATE OR DELETE ON audit.log
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER log_no_truncate BEFORE TRUNCATE ON audit.log
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();

-- Adds a row for each of the subjects (null: none is named) of an action that the app records.
-- 42501 for the ledger's own actions and for unknown ones, compared exactly; 22023 for texts that
-- are too long, and for actors and subjects that do not exist.
CREATE FUNCTION audit.record_each(
    actor uuid, action text, subjects uuid[], request_id text, address text, detail json
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    known   audit.actions;
    invalid text;
    found   bigint;
BEGIN
    SELECT * INTO known FROM audit.actions k
    WHERE k.action = record_each.action AND k.recorded_by = 'app';
    IF known IS NULL THEN
        RAISE EXCEPTION 'finpay_app may not record the action %', action
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    invalid := CASE
        WHEN (cardinality(subjects) BETWEEN 1 AND 100000) IS NOT TRUE
            THEN 'subjects is not an array of 1 to 100000 ids'
        WHEN octet_length(request_id) > 128 THEN 'request_id has more than 128 bytes'
        WHEN octet_length(address) > 64 THEN 'address has more than 64 bytes'
        WHEN actor IS NOT NULL AND NOT EXISTS (SELECT FROM identity.users u WHERE u.id = actor)
            THEN 'actor is not a user'
        ELSE 'detail ' || ledger.json_error(detail, 4096)
    END;
    found := CASE known.subject
        WHEN 'account' THEN (SELECT count(*) FROM ledger.accounts a WHERE a.id = ANY (subjects))
        WHEN 'api_key' THEN (SELECT count(*) FROM identity.api_keys k WHERE k.id = ANY (subjects))
        WHEN 'session' THEN (SELECT count(*) FROM identity.sessions s WHERE s.id = ANY (subjects))
        WHEN 'user' THEN (SELECT count(*) FROM identity.users u WHERE u.id = ANY (subjects))
        ELSE (SELECT count(*) FROM webhooks.endpoints e WHERE e.id = ANY (subjects))
    END;
    IF invalid IS NULL AND found < (SELECT count(DISTINCT id) FROM unnest(subjects) AS id) THEN
        invalid := format('subject is not a known %s', known.subject);
    END IF;
    IF invalid IS NOT NULL THEN
        RAISE EXCEPTION '%', invalid USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address, detail)
    SELECT clock_timestamp(), actor, s.id, action, request_id, address, detail
    FROM unnest(subjects) WITH ORDINALITY AS s (id, n) ORDER BY s.n;
END
$$;

-- One row, as record_each.
CREATE FUNCTION audit.record(
    actor uuid, action text, subject uuid, request_id text, address text, detail json DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT audit.record_each(actor, action, ARRAY[subject], request_id, address, detail)
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
