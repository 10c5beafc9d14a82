-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What operators do with money: deposits, completed withdrawals, refunds. Each is decided under the
-- locks of the user's account and of the system account of its currency, and committed with its
-- key, entries, audit and events. finpay_app may execute none of it: it creates money.

-- A reference outside belongs to one payment for ever, per currency: deposits and withdrawals have
-- a space each. An approval that waits reserves that of its deposit.
CREATE TABLE ledger.payment_references (
    transaction_id uuid,                  -- null: reserved by the approval
    approval_id    uuid,
    currency       text NOT NULL,
    space          text NOT NULL,
    reference      text NOT NULL,
    CONSTRAINT payment_references_pkey PRIMARY KEY (currency, space, reference),
    CONSTRAINT payment_references_space CHECK (space IN ('deposit', 'withdrawal'))
);
CREATE INDEX payment_references_transaction ON ledger.payment_references (transaction_id);

-- Actions that wait for a second operator. The parameters are those of ledger.operator_action.
CREATE TABLE ledger.approvals (
    id             uuid        NOT NULL,
    requested_by   uuid        NOT NULL,
    decided_by     uuid,
    transaction_id uuid,
    account_id     uuid        NOT NULL,  -- the user's whom it concerns
    target_id      uuid,
    amount         bigint      NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    action         text        NOT NULL,
    status         text        NOT NULL DEFAULT 'pending',
    currency       text        NOT NULL,
    reference      text,
    description    text,
    CONSTRAINT approvals_pkey PRIMARY KEY (id),
    CONSTRAINT approvals_action CHECK (action IN ('deposit', 'withdrawal', 'refund')),
    CONSTRAINT approvals_status CHECK (status IN ('pending', 'approved', 'rejected'))
);
CREATE INDEX approvals_pending ON ledger.approvals (id) WHERE status = 'pending';
CREATE INDEX approvals_pending_of_account ON ledger.approvals (account_id)
    WHERE status = 'pending';

-- Who commands, under which key. The operator is null on the command line, which acts with the
-- owner's rights under keys of the system account and needs no second operator; its audit says so.
CREATE TYPE ledger.operator_origin AS (
    operator_id    uuid,
    key            text,
    fingerprint    bytea,
    request_id     text,
    address        text,
    approval_above jsonb, -- by currency, the amount above which a second operator has to approve
    refusals       text[] -- the problem of each outcome, with places for request id, index and
                          -- further members; null: a refusal is JSON of its code and its members
);

CREATE TYPE ledger.operator_action AS (
    action      text,
    account_id  uuid,    -- of a deposit
    target_id   uuid,    -- the withdrawal, or the transaction to refund
    amount      bigint,  -- null: all of it
    reference   text,
    description text
);

CREATE TYPE ledger.operator_result AS (
    outcome        text,
    http_status    smallint,
    answer         text,
    fingerprint    bytea,
    transaction_id uuid,
    users          uuid[]  -- whose accounts changed
);

-- 22023 for an origin that can't be, 42501 for the command line without the owner's rights: stolen
-- credentials of finpay_operator have to name an operator. Commands under one key wait for each
-- other: those about other currencies lock other accounts.
CREATE FUNCTION ledger.check_operator_origin(origin ledger.operator_origin) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (octet_length(origin.key) BETWEEN 1 AND 255 AND origin.key !~ '[^!-~]'
        AND octet_length(origin.fingerprint) BETWEEN 1 AND 64
        AND octet_length(origin.request_id) BETWEEN 1 AND 300
        AND octet_length(COALESCE(origin.address, '')) <= 64
        AND (origin.refusals IS NULL
             OR cardinality(origin.refusals) = cardinality(enum_range(NULL::ledger.outcome)))
        AND octet_length(COALESCE(origin.refusals::text, '')) <= 32768) IS NOT TRUE THEN
        RAISE EXCEPTION 'a key, fingerprint, request id, address or refusal is not valid'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF origin.operator_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM identity.users u WHERE u.id = origin.operator_id) THEN
        RAISE EXCEPTION 'the operator is not a user' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF origin.operator_id IS NULL AND NOT pg_has_role(session_user, 'finpay_owner', 'MEMBER') THEN
        RAISE EXCEPTION 'a command without an operator needs the rights of finpay_owner'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(
        COALESCE(origin.operator_id::text, '') || ' ' || origin.key, 0));
END
$$;

-- Whether a user is an operator now. The command line has all rights.
CREATE FUNCTION ledger.is_operator(user_id uuid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT user_id IS NULL OR EXISTS (
        SELECT FROM identity.users u WHERE u.id = user_id AND u.role = 'operator')
$$;

-- What the key was answered before, or a result without an outcome. The system account is locked.
CREATE FUNCTION ledger.stored_operator_result(origin ledger.operator_origin, system_id uuid)
RETURNS ledger.operator_result
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    stored ledger.idempotency_keys;
    result ledger.operator_result;
BEGIN
    SELECT * INTO stored FROM ledger.idempotency_keys k
    WHERE k.principal_id = COALESCE(origin.operator_id, system_id) AND k.key = origin.key;
    IF FOUND THEN
        result := ROW(CASE WHEN stored.fingerprint = origin.fingerprint
                           THEN 'duplicate' ELSE 'idempotency_key_reuse' END,
                      stored.http_status, stored.answer, stored.fingerprint,
                      stored.transaction_id, NULL);
    END IF;
    RETURN result;
END
$$;

-- The answer of a refusal. A caller who may not do it is shown no more than that.
CREATE FUNCTION ledger.operator_refusal(
    origin ledger.operator_origin, outcome ledger.outcome, members json
) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN origin.refusals IS NULL
        THEN (jsonb_build_object('code', outcome) || shown.members)::text
        ELSE format(
            origin.refusals[array_position(enum_range(NULL::ledger.outcome), outcome)],
            origin.request_id, NULL, ',' || NULLIF(btrim(shown.members::text, '{}'), '')) END
    FROM (SELECT CASE WHEN outcome = 'forbidden' OR members IS NULL THEN '{}'::jsonb
                      ELSE members::jsonb END AS members) shown
$$;

-- Stores what a command is answered, refusals included, and returns it.
CREATE FUNCTION ledger.store_operator_result(
    result ledger.operator_result, origin ledger.operator_origin, system_id uuid,
    members json, moment timestamptz
) RETURNS ledger.operator_result
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF result.answer IS NULL THEN
        result.answer := ledger.operator_refusal(
            origin, result.outcome::ledger.outcome, members);
        INSERT INTO audit.log (created_at, actor_id, action, request_id, address, detail)
        VALUES (moment, origin.operator_id, 'transaction.refused', origin.request_id,
                origin.address, json_build_object('code', result.outcome));
    END IF;
    result.fingerprint := origin.fingerprint;
    INSERT INTO ledger.idempotency_keys (principal_id, transaction_id, created_at, http_status,
                                         key, fingerprint, answer)
    VALUES (COALESCE(origin.operator_id, system_id), result.transaction_id, moment,
            result.http_status, origin.key, origin.fingerprint, result.answer);
    RETURN result;
END
$$;

-- The answer of a command about something that is not there. An operator's is stored with the key;
-- on the command line it has no currency, and so no account whose key it could be.
CREATE FUNCTION ledger.unknown_result(origin ledger.operator_origin, outcome ledger.outcome)
RETURNS ledger.operator_result
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result ledger.operator_result;
BEGIN
    IF origin.operator_id IS NOT NULL THEN
        result := ledger.stored_operator_result(origin, NULL);
    END IF;
    IF result.outcome IS NULL THEN
        result.outcome     := outcome;
        result.http_status := ledger.http_status(outcome, 'operator');
        IF origin.operator_id IS NOT NULL THEN
            result := ledger.store_operator_result(result, origin, NULL, NULL, clock_timestamp());
        END IF;
    END IF;
    RETURN result;
END
$$;

-- The payment that a reference belongs to. A reservation ends with its approval.
CREATE FUNCTION ledger.taken_reference(of_currency text, of_space text, of_reference text)
RETURNS ledger.payment_references
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r FROM ledger.payment_references r
    LEFT JOIN ledger.approvals p ON p.id = r.approval_id
    WHERE r.currency = of_currency AND r.space = of_space AND r.reference = of_reference
      AND (r.transaction_id IS NOT NULL
           OR (p.status = 'pending' AND p.expires_at > clock_timestamp()))
$$;

-- An approval as operators see it.
CREATE FUNCTION ledger.approval_object(p ledger.approvals) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'id', ledger.type_id('apr', p.id), 'object', 'approval', 'status', CASE
            WHEN p.status = 'pending' AND p.expires_at <= clock_timestamp() THEN 'expired'
            ELSE p.status END,
        'action', p.action, 'parameters', json_build_object(
            'account_id', ledger.type_id('acc', p.account_id), 'target', ledger.type_id(
                CASE p.action WHEN 'withdrawal' THEN 'wdr' ELSE 'txn' END, p.target_id),
            'amount', p.amount, 'currency', p.currency, 'reference', p.reference,
            'description', p.description),
        'requested_by', ledger.type_id('usr', p.requested_by),
        'decided_by', ledger.type_id('usr', p.decided_by),
        'transaction_id', ledger.type_id('txn', p.transaction_id),
        'expires_at', ledger.format_timestamp(p.expires_at),
        'created_at', ledger.format_timestamp(p.created_at))::text
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
