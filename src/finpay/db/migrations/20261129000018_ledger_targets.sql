-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What the operations of a commit batch are about, as ledger.post_batch reads it before and after
-- it locks the accounts. Not called where a commit batch has transfers only.

-- Per request the account of the other party of its target: the sender of a hold or transaction,
-- the requester of a payment request; null where there is none. These parties never change, so they
-- are read before the locks.
CREATE FUNCTION ledger.counterparties_of(
    accounts uuid[], senders integer[], modes text[], targets uuid[]
) RETURNS uuid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN (
        SELECT array_agg(CASE
            WHEN q.mode IN ('capture', 'void') THEN (
                SELECT h.sender_id FROM ledger.holds h
                WHERE h.account_id = accounts[q.sender] AND h.id = q.target)
            WHEN q.mode = 'refund' THEN (
                SELECT t.sender_id FROM ledger.transactions t
                WHERE t.id = q.target AND t.receiver_id = accounts[q.sender])
            WHEN q.mode = 'pay' THEN (
                SELECT r.requester_id FROM ledger.payment_requests r
                WHERE r.id = q.target AND r.account_id = r.requester_id)
        END)
        FROM unnest(senders, modes, targets) AS q (sender, mode, target)
    );
END
$$;

-- The targets, per request; null where the caller is no party of it: of a payment request with an
-- e-mail address, not the user who has it. If several requests have the same one, `positions` are
-- those of the first request with it, per request, and null where there is no target.
-- A hold is open while both parties' rows are and its time has not come. `counterparties` are those
-- of ledger.counterparties_of. Each target is read by a subquery, which knows the whole key: a join
-- that was planned while holds was small would read it by the second column of its key.
CREATE FUNCTION ledger.load_targets(
    account_ids uuid[], counterparties uuid[], senders integer[], modes text[], ids uuid[],
    moment timestamptz, OUT targets ledger.operation_target[], OUT positions integer[]
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    today CONSTANT date := (moment AT TIME ZONE 'UTC')::date;
BEGIN
    -- Two statements: each begins with opening all tables that it may read.
    SELECT array_agg(CASE
        WHEN q.mode IN ('capture', 'void') THEN (
            SELECT ROW(
                h.id, ledger.position_of(h.sender_id, account_ids), h.amount,
                h.captured_amount,
                CASE WHEN h.status = 'open' AND (h.expires_at <= moment OR own.status <> 'open')
                     THEN 'expired' ELSE h.status::text END,
                h.status = 'open' AND own.status = 'open' AND h.expires_at > moment,
                (h.created_at AT TIME ZONE 'UTC')::date = today, h.created_at, h.expires_at,
                h.description, h.metadata::text)::ledger.operation_target
            FROM ledger.holds h, ledger.holds own
            WHERE h.account_id = q.counterparty AND h.id = q.id
              AND own.account_id = account_ids[q.sender] AND own.id = q.id)
        WHEN q.mode = 'refund' THEN (
            SELECT ROW(
                t.id, ledger.position_of(t.sender_id, account_ids), t.amount,
                COALESCE(t.refunded_amount, 0), t.status::text, t.type = 'transfer',
                (t.created_at AT TIME ZONE 'UTC')::date = today, t.created_at,
                NULL, NULL, NULL)::ledger.operation_target
            FROM ledger.transactions t
            WHERE t.id = q.id AND t.status <> 'failed'
              AND account_ids[q.sender] IN (t.sender_id, t.receiver_id))
    END)
    INTO targets
    FROM unnest(counterparties, senders, modes, ids) AS q (counterparty, sender, mode, id);
    IF modes && ARRAY['cancel', 'pay'] THEN
        SELECT array_agg(CASE
            WHEN q.mode = 'cancel' THEN (
                SELECT ROW(
                    w.id, q.sender, w.amount, 0, w.status::text, w.status = 'pending',
                    (w.created_at AT TIME ZONE 'UTC')::date = today, w.created_at,
                    NULL, w.description, NULL)::ledger.operation_target
                FROM ledger.withdrawals w
                WHERE w.account_id = account_ids[q.sender] AND w.id = q.id)
            WHEN q.mode = 'pay' THEN (
                SELECT ROW(
                    r.id, ledger.position_of(r.requester_id, account_ids), r.amount, 0,
                    ledger.payment_request_status_at(r, moment)::text,
                    ledger.payment_request_status_at(r, moment) = 'open',
                    (r.created_at AT TIME ZONE 'UTC')::date = today, r.created_at, r.expires_at,
                    r.description, r.metadata::text)::ledger.operation_target
                FROM ledger.payment_requests r
                WHERE r.account_id = q.counterparty AND r.id = q.id
                  AND (r.requester_id = account_ids[q.sender] OR r.payer_email IS NULL
                       OR account_ids[q.sender] = COALESCE(
                           r.payer_id, ledger.account_of_email(r.payer_email))))
            ELSE targets[q.n]
        END)
        INTO targets
        FROM unnest(counterparties, senders, modes, ids) WITH ORDINALITY
                 AS q (counterparty, sender, mode, id, n);
    END IF;

    IF (SELECT count(DISTINCT i.id) < count(i.id) FROM unnest(ids) AS i (id)) THEN
        SELECT array_agg(CASE WHEN f.id IS NOT NULL THEN f.first END ORDER BY f.n) INTO positions
        FROM (
            SELECT q.n, (q.target).id, min(q.n) OVER (
                PARTITION BY CASE q.mode WHEN 'void' THEN 'capture' ELSE q.mode END,
                    (q.target).sender, (q.target).id)::integer AS first
            FROM (SELECT m.mode, m.n, targets[m.n] AS target
                  FROM unnest(modes) WITH ORDINALITY AS m (mode, n)) q
        ) f;
    END IF;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
