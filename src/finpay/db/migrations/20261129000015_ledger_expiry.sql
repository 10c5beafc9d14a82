-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Expires those of the given rows of holds that are due, and releases their money. Their accounts
-- are locked by the caller. Returns the number of rows, and of webhook deliveries.
CREATE FUNCTION ledger.expire_keys(
    keys ledger.hold_keys, moment timestamptz, OUT expired bigint, OUT queued integer
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    today CONSTANT date := (moment AT TIME ZONE 'UTC')::date;
    account_ids uuid[];
    sequences   bigint[];
    former      bigint[];
    helds       bigint[];
    subscribed  uuid[];
    changes     record;
BEGIN
    SELECT array_agg(a.id), array_agg(a.sequence), array_agg(a.held::bigint),
           array_agg(a.id) FILTER (WHERE a.subscribed)
    INTO account_ids, sequences, former, subscribed
    FROM ledger.accounts a WHERE a.id = ANY (keys.account_ids);
    changes := ledger.expire_rows(account_ids, sequences, subscribed, moment, keys);
    SELECT array_agg(h.sequence + h.number ORDER BY h.n),
           array_agg(h.held - h.released ORDER BY h.n)
    INTO sequences, helds
    FROM unnest(sequences, former, changes.released, changes.counts)
             WITH ORDINALITY AS h (sequence, held, released, number, n);
    UPDATE ledger.accounts a
    SET held = c.held, sequence = c.sequence,
        sent_today = CASE a.sent_on WHEN today THEN GREATEST(a.sent_today - c.given_back, 0)
                                    ELSE a.sent_today END
    FROM unnest(account_ids, helds, sequences, changes.given_back)
             AS c (id, held, sequence, given_back)
    WHERE a.id = c.id AND a.id = ANY (account_ids) AND a.sequence <> c.sequence;
    PERFORM ledger.record_held(account_ids, former, helds, sequences, moment);
    expired := (SELECT COALESCE(sum(number), 0) FROM unnest(changes.counts) AS c (number));
    queued  := changes.queued;
END
$$;

-- A place in the order of ledger.hold_expiries.
CREATE TYPE ledger.expiry_key AS (
    expires_at timestamptz,
    account_id uuid,
    hold_id    uuid
);

-- Of the next `most` rows of holds that are due after a key (null: of all), the longest due first,
-- those that are open, and the key of the last one; null where nothing is due after it. Expiries of
-- closed holds are deleted: a closed hold never opens again, so no account is locked for it. What
-- another transaction has locked is left to it, so no call waits.
CREATE FUNCTION ledger.list_due_holds(
    most integer, after ledger.expiry_key,
    OUT account_ids uuid[], OUT ids uuid[], OUT last ledger.expiry_key
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    moment        CONSTANT timestamptz := clock_timestamp();  -- indexes are searched for variables
    after_time    CONSTANT timestamptz := COALESCE(after.expires_at, '-infinity');
    after_account CONSTANT uuid :=
        COALESCE(after.account_id, '00000000-0000-0000-0000-000000000000');
    after_hold    CONSTANT uuid := COALESCE(after.hold_id, '00000000-0000-0000-0000-000000000000');
    listed        ledger.expiry_key[];
BEGIN
    IF (most BETWEEN 1 AND 1000) IS NOT TRUE THEN
        RAISE EXCEPTION 'most is 1 to 1000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WITH due AS MATERIALIZED (
        SELECT x.*, COALESCE(h.is_open, false) AS is_open
        FROM (SELECT o.ctid AS tid, o.* FROM ledger.hold_expiries o
              WHERE o.expires_at <= moment AND (o.expires_at, o.account_id, o.hold_id)
                  > (after_time, after_account, after_hold)
              ORDER BY o.expires_at, o.account_id, o.hold_id LIMIT most) x
        LEFT JOIN LATERAL (
            SELECT s.status = 'open' AS is_open FROM ledger.holds s
            WHERE s.account_id = x.account_id AND s.id = x.hold_id OFFSET 0
        ) h ON true
    ), locked AS MATERIALIZED (
        SELECT o.ctid AS tid FROM ledger.hold_expiries o
        WHERE o.ctid = ANY (ARRAY(SELECT d.tid FROM due d WHERE NOT d.is_open))
        FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM ledger.hold_expiries o
        WHERE o.ctid = ANY (ARRAY(SELECT l.tid FROM locked l))
    )
    SELECT array_agg(d.account_id ORDER BY d.expires_at, d.account_id, d.hold_id)
               FILTER (WHERE d.is_open),
           array_agg(d.hold_id ORDER BY d.expires_at, d.account_id, d.hold_id)
               FILTER (WHERE d.is_open),
           array_agg(ROW(d.expires_at, d.account_id, d.hold_id)::ledger.expiry_key
                     ORDER BY d.expires_at, d.account_id, d.hold_id)
    INTO account_ids, ids, listed
    FROM due d;
    last := listed[cardinality(listed)];
END
$$;

-- Expires those of the given rows of holds whose time has come: each under the lock of its own
-- account, so the two sides of a hold expire apart. Returns the number of rows, less than was given
-- where another worker was faster; `queued` counts webhook deliveries. 22023 for arrays that don't
-- name rows, or so many that their accounts would be locked for long.
CREATE FUNCTION ledger.expire_holds(
    account_ids uuid[], ids uuid[], OUT expired bigint, OUT queued integer
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    most CONSTANT integer := 1000;
    keys ledger.hold_keys;
BEGIN
    IF (array_ndims(ids) = 1 AND cardinality(ids) <= most
        AND array_dims(account_ids) = array_dims(ids)) IS NOT TRUE THEN
        RAISE EXCEPTION 'account_ids and ids are two lists of equal length, at most %', most
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(k.account_id), array_agg(k.id) INTO keys
    FROM (SELECT DISTINCT * FROM unnest(account_ids, ids) AS k (account_id, id)) k;
    PERFORM FROM ledger.accounts a WHERE a.id = ANY (keys.account_ids)
    ORDER BY a.id FOR NO KEY UPDATE;
    SELECT e.* INTO expired, queued FROM ledger.expire_keys(keys, clock_timestamp()) e;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
