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
        SELECT array_agg(p.party_id)
        FROM unnest(senders, modes, targets) AS q (sender, mode, target)
        LEFT JOIN LATERAL (
            SELECT h.sender_id AS party_id FROM ledger.holds h
            WHERE q.mode IN ('capture', 'void') AND h.account_id = accounts[q.sender]
              AND h.id = q.target
            UNION ALL
            SELECT t.sender_id FROM ledger.transactions t
            WHERE q.mode = 'refund' AND t.id = q.target AND t.receiver_id = accounts[q.sender]
            UNION ALL
            SELECT r.requester_id FROM ledger.payment_requests r
            WHERE q.mode = 'pay' AND r.id = q.target AND r.account_id = r.requester_id
            OFFSET 0
        ) p ON true
    );
END
$$;

-- The targets, per request, and the position of the first request with the same one; null where the
-- caller is no party of it: of a payment request with an e-mail address, not the user who has it.
-- A hold is open while both parties' rows are and its time has not come. `counterparties` are those
-- of ledger.counterparties_of. OFFSET 0 keeps each row one probe of the whole key: a plan that was
-- made while holds was small would else read it by the second column of its key.
CREATE FUNCTION ledger.load_targets(
    account_ids uuid[], counterparties uuid[], senders integer[], modes text[], ids uuid[],
    moment timestamptz, OUT targets ledger.operation_target[], OUT positions integer[]
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    today CONSTANT date := (moment AT TIME ZONE 'UTC')::date;
BEGIN
    SELECT array_agg(CASE WHEN f.id IS NOT NULL THEN
               ROW(f.id, f.sender, f.amount, f.taken, f.status, f.is_open,
                   (f.created_at AT TIME ZONE 'UTC')::date = today, f.created_at,
                   f.expires_at, f.description, f.metadata)::ledger.operation_target END
               ORDER BY f.n),
           array_agg(CASE WHEN f.id IS NOT NULL THEN f.first::integer END ORDER BY f.n)
    INTO targets, positions
    FROM (
        SELECT q.n, t.*, s.n AS sender,
               min(q.n) OVER (PARTITION BY t.kind, t.sender_id, t.id) AS first
        FROM unnest(counterparties, senders, modes, ids) WITH ORDINALITY
                 AS q (counterparty, sender, mode, id, n)
        LEFT JOIN LATERAL (
            SELECT 'hold' AS kind, h.id, h.sender_id, h.amount, h.captured_amount AS taken,
                   CASE WHEN h.status = 'open' AND (h.expires_at <= moment OR own.status <> 'open')
                        THEN 'expired' ELSE h.status::text END AS status,
                   h.status = 'open' AND own.status = 'open' AND h.expires_at > moment AS is_open,
                   h.created_at, h.expires_at, h.description, h.metadata::text AS metadata
            FROM (SELECT * FROM ledger.holds s
                  WHERE s.account_id = q.counterparty AND s.id = q.id OFFSET 0) h,
                 (SELECT r.status FROM ledger.holds r
                  WHERE r.account_id = account_ids[q.sender] AND r.id = q.id OFFSET 0) own
            WHERE q.mode IN ('capture', 'void')
            UNION ALL
            SELECT 'transaction', t.id, t.sender_id, t.amount,
                   COALESCE(t.refunded_amount, 0), t.status::text, t.type = 'transfer',
                   t.created_at, NULL, NULL, NULL
            FROM ledger.transactions t
            WHERE q.mode = 'refund' AND t.id = q.id AND t.status <> 'failed'
              AND account_ids[q.sender] IN (t.sender_id, t.receiver_id)
            UNION ALL
            SELECT 'withdrawal', w.id, w.account_id, w.amount, 0, w.status::text,
                   w.status = 'pending', w.created_at, NULL, w.description, NULL
            FROM ledger.withdrawals w
            WHERE q.mode = 'cancel' AND w.account_id = account_ids[q.sender] AND w.id = q.id
            UNION ALL
            SELECT 'payment_request', r.id, r.requester_id, r.amount, 0,
                   ledger.payment_request_status_at(r, moment)::text,
                   ledger.payment_request_status_at(r, moment) = 'open',
                   r.created_at, r.expires_at, r.description, r.metadata::text
            FROM (SELECT * FROM ledger.payment_requests s
                  WHERE s.account_id = q.counterparty AND s.id = q.id OFFSET 0) r
            WHERE q.mode = 'pay'
              AND (r.requester_id = account_ids[q.sender] OR r.payer_email IS NULL
                   OR account_ids[q.sender] = COALESCE(
                       r.payer_id, ledger.account_of_email(r.payer_email)))
            OFFSET 0
        ) t ON true
        LEFT JOIN unnest(account_ids) WITH ORDINALITY AS s (id, n) ON s.id = t.sender_id
    ) f;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
