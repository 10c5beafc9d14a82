-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

CREATE TYPE ledger.payment_request_status AS ENUM (
    'open', 'paid', 'declined', 'canceled', 'expired'
);

-- Requests to be paid. One row per side: the requester's, on whose account_id = requester_id, and
-- the payer's once the payer is known. Both are written in one commit, under the lock of the
-- requester's account, which decides between paying, canceling, declining and expiry.
CREATE TABLE ledger.payment_requests (
    account_id     uuid        NOT NULL,  -- whose side it is
    id             uuid        NOT NULL,  -- random throughout: who has it may pay
    requester_id   uuid        NOT NULL,  -- the account that is paid
    payer_id       uuid,                  -- the account of the named payer, or of who paid
    transaction_id uuid,                  -- the transfer that paid it
    amount         bigint      NOT NULL,
    expires_at     timestamptz NOT NULL,
    created_at     timestamptz NOT NULL,
    status         ledger.payment_request_status NOT NULL DEFAULT 'open',
    currency       text        NOT NULL,  -- that of the requester's account
    payer_email    text,                  -- null: any user who has the id may pay
    description    text,
    metadata       json        NOT NULL,  -- json, not jsonb: returned byte for byte as it was sent
    CONSTRAINT payment_requests_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT payment_requests_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT payment_requests_parties CHECK (payer_id <> requester_id),
    CONSTRAINT payment_requests_side CHECK (account_id IN (requester_id, payer_id)),
    CONSTRAINT payment_requests_paid CHECK ((status = 'paid') = (transaction_id IS NOT NULL)
                                            AND (status <> 'paid' OR payer_id IS NOT NULL))
);
-- A request is found by its id alone; who may see it is decided on the row.
CREATE UNIQUE INDEX payment_requests_id ON ledger.payment_requests (id)
    WHERE account_id = requester_id;
-- The lists of a side, by direction and status, newest first.
CREATE INDEX payment_requests_list ON ledger.payment_requests
    (account_id, (account_id = requester_id), status, created_at, id);
-- Those to an e-mail address that belonged to no user when they were made.
CREATE INDEX payment_requests_unclaimed ON ledger.payment_requests
    (payer_email, status, created_at, id) WHERE payer_id IS NULL AND payer_email IS NOT NULL;
-- The number of open ones from one requester to one payer.
CREATE INDEX payment_requests_open ON ledger.payment_requests (requester_id, payer_email)
    WHERE status = 'open' AND account_id = requester_id AND payer_email IS NOT NULL;
CREATE INDEX payment_requests_due ON ledger.payment_requests (expires_at)
    WHERE status = 'open' AND account_id = requester_id;

-- What was asked for never changes; the payer and the transaction are set once.
CREATE TRIGGER payment_requests_fixed_columns BEFORE UPDATE OF
    account_id, id, requester_id, amount, expires_at, created_at, currency, payer_email,
    description, metadata ON ledger.payment_requests
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER payment_requests_no_delete BEFORE DELETE ON ledger.payment_requests
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER payment_requests_no_truncate BEFORE TRUNCATE ON ledger.payment_requests
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();

-- The status at a moment: an open request is expired from expires_at on, whenever the worker comes.
CREATE FUNCTION ledger.payment_request_status_at(
    request ledger.payment_requests, moment timestamptz
) RETURNS ledger.payment_request_status
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN request.status = 'open' AND request.expires_at <= moment THEN 'expired'
            ELSE request.status END;

-- A side of a request as the API shows it: finpay.ledger.payment_requests.PaymentRequest.
CREATE FUNCTION ledger.payment_request_object(
    request ledger.payment_requests, requester_name text, public_url text
) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id CONSTANT text := ledger.type_id('prq', request.id);
BEGIN
    RETURN format(
        '{"id":"%s","object":"payment_request","status":"%s","direction":"%s","amount":%s,'
        '"currency":"%s","requester":{"account_id":"%s","name":%s},"payer_email":%s,'
        '"description":%s,"metadata":%s,"url":%s,"transaction_id":%s,"expires_at":%s,'
        '"created_at":%s}',
        id, request.status,
        CASE request.account_id WHEN request.requester_id THEN 'sent' ELSE 'received' END,
        request.amount, request.currency, ledger.type_id('acc', request.requester_id),
        ledger.json_string(requester_name), ledger.json_string(request.payer_email),
        ledger.json_string(request.description), request.metadata,
        ledger.json_string(public_url || '/pay/' || id),
        ledger.json_string(ledger.type_id('txn', request.transaction_id)),
        ledger.json_time(request.expires_at), ledger.json_time(request.created_at));
END
$$;

-- The name of an account's owner.
CREATE FUNCTION ledger.owner_name(of_account uuid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT u.name FROM ledger.accounts a JOIN identity.users u ON u.id = a.user_id
    WHERE a.id = of_account
$$;

-- The account of the user who has an e-mail address; null if no user has it, or may be found by it.
CREATE FUNCTION ledger.account_of_email(of_email text) RETURNS uuid
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.id FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id
    WHERE u.email = of_email AND identity.can_be_found(u.email_verified_at)
$$;

-- The end of a request without a payment: both sides, their events and the audit row. The caller
-- has locked both accounts and found the request open. `payer` is null where no user is the payer.
CREATE FUNCTION ledger.close_payment_request(
    request ledger.payment_requests, payer uuid, new_status ledger.payment_request_status,
    origin ledger.change_origin, public_url text, moment timestamptz
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    action   CONSTANT text := 'payment_request.' || new_status;
    previous CONSTANT json := '{"status":"open"}';
    name     CONSTANT text := ledger.owner_name(request.requester_id);
BEGIN
    UPDATE ledger.payment_requests r
    SET status = new_status, payer_id = payer
    WHERE r.account_id = request.requester_id AND r.id = request.id AND r.status = 'open'
    RETURNING * INTO STRICT request;
    PERFORM ledger.record_event(
        request.requester_id, action, ledger.payment_request_object(request, name, public_url),
        previous, origin, moment);
    IF payer IS NOT NULL THEN
        request.account_id := payer;
        INSERT INTO ledger.payment_requests AS r SELECT request.*
        ON CONFLICT (account_id, id) DO UPDATE SET status = excluded.status;
        PERFORM ledger.record_event(
            payer, action, ledger.payment_request_object(request, name, public_url), previous,
            origin, moment);
    END IF;
    PERFORM ledger.record_change(request.id, action, origin, moment);
END
$$;

GRANT SELECT ON ledger.payment_requests TO finpay_app;
GRANT EXECUTE ON FUNCTION ledger.payment_request_status_at TO finpay_app;
-- migrate:down
-- Only forward: a mistake is corrected by another migration.
