-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Ends the requests that a commit batch pays: both sides, and an audit row for each. A payment is
-- an operation of ledger.post_batch, which has locked both accounts and decided that the request is
-- open, and which writes the events. `ids` are those of the transfers, per item.
CREATE FUNCTION ledger.close_paid_requests(
    operations ledger.decided_operation[], account_ids uuid[], users uuid[], request_ids text[],
    addresses text[], ids uuid[], moment timestamptz
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    payments integer;
    closed   integer;
BEGIN
    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address)
    SELECT moment, users[o.sender], o.id, ledger.operation_event(o.mode),
           request_ids[o.request], addresses[o.request]
    FROM unnest(operations) AS o WHERE o.mode = 'pay';
    GET DIAGNOSTICS payments = ROW_COUNT;

    WITH paid AS (
        UPDATE ledger.payment_requests r
        SET status = 'paid', transaction_id = p.transaction_id, payer_id = p.payer_id
        FROM (
            SELECT account_ids[o.receiver] AS requester_id, account_ids[o.sender] AS payer_id,
                   o.id, ids[o.item] AS transaction_id
            FROM unnest(operations) AS o WHERE o.mode = 'pay'
            OFFSET 0  -- the whole key is known before a row is read: see load_targets
        ) p
        WHERE r.account_id = p.requester_id AND r.id = p.id AND r.status = 'open'
        RETURNING r.*
    )
    -- The payer has a side already if the request named one who was a user then.
    INSERT INTO ledger.payment_requests AS side (
        account_id, id, requester_id, payer_id, transaction_id, amount, expires_at, created_at,
        status, currency, payer_email, description, metadata)
    SELECT p.payer_id, p.id, p.requester_id, p.payer_id, p.transaction_id, p.amount, p.expires_at,
           p.created_at, p.status, p.currency, p.payer_email, p.description, p.metadata
    FROM paid p
    ON CONFLICT (account_id, id) DO UPDATE
        SET status = excluded.status, transaction_id = excluded.transaction_id;
    GET DIAGNOSTICS closed = ROW_COUNT;
    IF closed <> payments THEN
        RAISE EXCEPTION '% payments of requests close % of them', payments, closed;
    END IF;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
