-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Expires rows of holds of accounts that the caller has locked, at most so many, and releases their
-- money. `only_sent`: rows of senders alone. Returns the number of rows, and of webhook deliveries.
CREATE FUNCTION ledger.expire_of_accounts(
    of_accounts uuid[], moment timestamptz, most integer, only_sent boolean,
    OUT expired bigint, OUT queued integer
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
    FROM ledger.accounts a WHERE a.id = ANY (of_accounts);
    changes := ledger.expire_rows(account_ids, sequences, subscribed, moment, most, only_sent);
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
    expired := (SELECT sum(number) FROM unnest(changes.counts) AS c (number));
    queued  := changes.queued;
END
$$;

-- Expires rows of holds whose time has come, the longest due first, at most so many: each under the
-- lock of its own account, so the two sides of a hold expire apart. An account with many rows, such
-- as a marketplace's, is locked alone and for few rows, as its payments wait meanwhile. Returns the
-- number of rows; 0 when nothing is due, or another worker was faster. `queued` counts webhook
-- deliveries. 22023 for a number that would keep the locks for long.
CREATE FUNCTION ledger.expire_holds(most integer, OUT expired bigint, OUT queued integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    few CONSTANT bigint := 100;
    account_ids uuid[];
    rows_of_few bigint;
    busiest     uuid;
    rows_of_busiest bigint;
    changes     record;
BEGIN
    IF (most BETWEEN 1 AND 10000) IS NOT TRUE THEN
        RAISE EXCEPTION 'most is 1 to 10000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(c.account_id) FILTER (WHERE c.number <= few),
           COALESCE(sum(c.number) FILTER (WHERE c.number <= few), 0),
           (array_agg(c.account_id ORDER BY c.number DESC))[1], max(c.number)
    INTO account_ids, rows_of_few, busiest, rows_of_busiest
    FROM (SELECT d.account_id, count(*) AS number
          FROM (SELECT h.account_id FROM ledger.holds h
                WHERE h.status = 'open' AND h.expires_at <= clock_timestamp()
                ORDER BY h.expires_at, h.account_id LIMIT 2 * most) d
          GROUP BY d.account_id) c;
    expired := 0;
    queued  := 0;
    IF busiest IS NULL THEN
        RETURN;
    END IF;
    IF rows_of_busiest > few AND rows_of_busiest >= rows_of_few THEN
        account_ids := ARRAY[busiest];
        most := few;
    END IF;
    PERFORM FROM ledger.accounts a WHERE a.id = ANY (account_ids)
    ORDER BY a.id FOR NO KEY UPDATE;
    changes := ledger.expire_of_accounts(account_ids, clock_timestamp(), most, false);
    expired := changes.expired;
    queued  := changes.queued;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
