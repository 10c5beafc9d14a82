-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What an account's limits may be raised to, and a raise that waits. No row: the account has no
-- ceiling, and nothing waits. The limits themselves are in ledger.accounts. A ceiling is the
-- operator's; null: none, as for a pending limit.
CREATE TABLE ledger.account_limits (
    account_id     uuid NOT NULL,
    ceiling_single bigint,
    ceiling_daily  bigint,
    pending_single bigint,
    pending_daily  bigint,
    effective_at   timestamptz,  -- of the pending limits; null: none are pending
    CONSTRAINT account_limits_pkey PRIMARY KEY (account_id)
);
CREATE INDEX account_limits_pending ON ledger.account_limits (effective_at)
    WHERE effective_at IS NOT NULL;

-- The limits that are valid at a moment, of locked accounts: pending ones whose time has come
-- count, whether or not the worker has written them. `pending` has the JSON of those still waiting.
CREATE FUNCTION ledger.effective_limits(
    account_ids uuid[], INOUT singles bigint[], INOUT dailies bigint[], moment timestamptz,
    OUT pending text[]
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT array_agg(CASE WHEN l.effective_at <= moment THEN l.pending_single ELSE a.single END
                     ORDER BY a.n),
           array_agg(CASE WHEN l.effective_at <= moment THEN l.pending_daily ELSE a.daily END
                     ORDER BY a.n),
           array_agg(CASE WHEN l.effective_at > moment THEN json_build_object(
                         'single', l.pending_single, 'daily', l.pending_daily,
                         'effective_at', ledger.format_timestamp(l.effective_at))::text END
                     ORDER BY a.n)
    INTO singles, dailies, pending
    FROM unnest(account_ids, singles, dailies) WITH ORDINALITY AS a (id, single, daily, n)
    LEFT JOIN ledger.account_limits l ON l.account_id = a.id AND l.effective_at IS NOT NULL;
END
$$;

-- The limits of an account as the API shows them: finpay.ledger.resources.Limits.
CREATE FUNCTION ledger.limits_object(account ledger.accounts) RETURNS json
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moment  CONSTANT timestamptz := clock_timestamp();
    today   CONSTANT date := (moment AT TIME ZONE 'UTC')::date;
    pending text;
BEGIN
    IF COALESCE(account.limit_single, account.limit_daily) IS NOT NULL THEN
        SELECT l.singles[1], l.dailies[1], l.pending[1]
        INTO account.limit_single, account.limit_daily, pending
        FROM ledger.effective_limits(ARRAY[account.id], ARRAY[account.limit_single],
                                     ARRAY[account.limit_daily], moment) l;
    END IF;
    RETURN json_build_object(
        'single', account.limit_single, 'daily', account.limit_daily,
        'sent_today', CASE account.sent_on
            WHEN today THEN LEAST(account.sent_today, 9007199254740991) ELSE 0 END,
        'resets_at', ledger.format_timestamp((today + 1)::timestamp AT TIME ZONE 'UTC'),
        'pending', pending::json);
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
