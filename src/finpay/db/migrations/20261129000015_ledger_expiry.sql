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
