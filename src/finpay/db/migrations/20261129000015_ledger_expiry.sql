-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Expires rows of holds whose time has come, the longest due first, at most so many: each under the
-- lock of its own account, so the two sides of a hold expire apart. Returns their number; 0 when
-- nothing is due, or another worker was faster. `queued` counts webhook deliveries. 22023 for a
-- number that would keep the locks for long.
CREATE FUNCTION ledger.expire_holds(most integer, OUT expired bigint, OUT queued integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    account_ids uuid[];
    sequences   bigint[];
    subscribed  uuid[];
    moment      timestamptz := clock_timestamp();
    today       date;
    changes     record;
BEGIN
    IF (most BETWEEN 1 AND 10000) IS NOT TRUE THEN
        RAISE EXCEPTION 'most is 1 to 10000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(DISTINCT d.account_id) INTO account_ids
    FROM (SELECT h.account_id FROM ledger.holds h
          WHERE h.status = 'open' AND h.expires_at <= moment
          ORDER BY h.expires_at, h.account_id LIMIT most) d;
    expired := 0;
    queued  := 0;
    IF account_ids IS NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(a.id), array_agg(a.sequence), array_agg(a.id) FILTER (WHERE a.subscribed)
    INTO account_ids, sequences, subscribed
    FROM (SELECT * FROM ledger.accounts l WHERE l.id = ANY (account_ids)
          ORDER BY l.id FOR NO KEY UPDATE) a;
    moment := clock_timestamp();
    today  := (moment AT TIME ZONE 'UTC')::date;
    changes := ledger.expire_rows(account_ids, sequences, subscribed, moment, most, false);
    UPDATE ledger.accounts a
    SET held = a.held - c.released, sequence = a.sequence + c.number,
        sent_today = CASE a.sent_on WHEN today THEN GREATEST(a.sent_today - c.given_back, 0)
                                    ELSE a.sent_today END
    FROM unnest(account_ids, changes.released, changes.given_back, changes.counts)
             AS c (id, released, given_back, number)
    WHERE a.id = c.id AND a.id = ANY (account_ids) AND c.number > 0;
    expired := (SELECT sum(number) FROM unnest(changes.counts) AS c (number));
    queued  := changes.queued;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
