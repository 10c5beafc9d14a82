-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- How an account's limits change: the operator sets them, the owner lowers them at once and raises
-- them after a day, up to what the operator allows.

-- Writes limits with one step of the account's sequence and its event, and with a mail to the owner
-- where a limit or what waits has changed. Returns the account.
CREATE FUNCTION ledger.write_limits(
    of_account uuid, single bigint, daily bigint, former json, of_actor uuid, of_request text,
    moment timestamptz
) RETURNS ledger.accounts
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    unlimited CONSTANT bigint := 9223372036854775807;
    account ledger.accounts;
    present json;
BEGIN
    UPDATE ledger.accounts a
    SET limit_single = single, limit_daily = daily, sequence = a.sequence + 1
    WHERE a.id = of_account RETURNING * INTO STRICT account;
    INSERT INTO outbox.events (account_id, sequence, actor_id, created_at, type, request_id, data,
                               previous)
    VALUES (account.id, account.sequence, of_actor, moment, 'account.updated', of_request,
            ledger.account_object(account), json_build_object('limits', former));
    present := ledger.limits_object(account);
    INSERT INTO mail.messages (id, user_id, kind)
    SELECT gen_random_uuid(), account.user_id, CASE
        WHEN present ->> 'pending' IS NOT NULL THEN 'limits_raise_requested'
        WHEN COALESCE(single, unlimited) > COALESCE((former ->> 'single')::bigint, unlimited)
          OR COALESCE(daily, unlimited) > COALESCE((former ->> 'daily')::bigint, unlimited)
            THEN 'limits_raised'
        ELSE 'limits_changed' END
    WHERE (present ->> 'single', present ->> 'daily', present ->> 'pending')
        IS DISTINCT FROM (former ->> 'single', former ->> 'daily', former ->> 'pending');
    IF account.subscribed THEN
        PERFORM webhooks.enqueue(
            ARRAY[account.id], ARRAY[account.sequence], ARRAY['account.updated']);
    END IF;
    RETURN account;
END
$$;

-- The owner's change: a limit that is not given stays as it is now, null is none. What is lower
-- counts at once, what is higher after a day; the change drops one that waited. `fault` is
-- above_ceiling, account_closed, or null; `limits` are those after it. 22023 for limits that are no
-- amounts.
CREATE FUNCTION ledger.change_limits(
    of_user uuid, has_single boolean, single bigint, has_daily boolean, daily bigint,
    of_request text, of_address text,
    OUT account ledger.accounts, OUT limits json, OUT fault text
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    delay   CONSTANT interval := '24 hours';
    ceiling ledger.account_limits;
    former  json;
    now_single bigint;
    now_daily  bigint;
    moment  timestamptz;
BEGIN
    IF (COALESCE(single, 1) BETWEEN 1 AND 9007199254740991
        AND COALESCE(daily, 1) BETWEEN 1 AND 9007199254740991
        AND has_single IS NOT NULL AND has_daily IS NOT NULL
        AND octet_length(of_request) BETWEEN 1 AND 128
        AND octet_length(COALESCE(of_address, '')) <= 64) IS NOT TRUE THEN
        RAISE EXCEPTION 'a limit is 1 to 9007199254740991, a request id has 1 to 128 bytes'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO account FROM ledger.accounts a WHERE a.user_id = of_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the user has no account' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF account.status = 'closed' THEN
        fault := 'account_closed';
        RETURN;
    END IF;
    moment := clock_timestamp();
    former := ledger.limits_object(account);
    SELECT l.singles[1], l.dailies[1] INTO now_single, now_daily
    FROM ledger.effective_limits(ARRAY[account.id], ARRAY[account.limit_single],
                                 ARRAY[account.limit_daily], moment) l;
    IF NOT has_single THEN
        single := now_single;
    END IF;
    IF NOT has_daily THEN
        daily := now_daily;
    END IF;
    SELECT * INTO ceiling FROM ledger.account_limits l WHERE l.account_id = account.id;
    IF (has_single AND COALESCE(single, 9223372036854775807)
                       > COALESCE(ceiling.ceiling_single, 9223372036854775807))
       OR (has_daily AND COALESCE(daily, 9223372036854775807)
                         > COALESCE(ceiling.ceiling_daily, 9223372036854775807)) THEN
        fault := 'above_ceiling';
        RETURN;
    END IF;
    -- LEAST skips nulls, so the lower of a limit and none is the limit.
    now_single := LEAST(now_single, single);
    now_daily  := LEAST(now_daily, daily);
    INSERT INTO ledger.account_limits AS l (account_id) VALUES (account.id)
    ON CONFLICT (account_id) DO NOTHING;
    UPDATE ledger.account_limits l
    SET pending_single = CASE WHEN c.is_raised THEN single END,
        pending_daily  = CASE WHEN c.is_raised THEN daily END,
        effective_at   = CASE WHEN c.is_raised THEN moment + delay END
    FROM (SELECT now_single IS DISTINCT FROM single OR now_daily IS DISTINCT FROM daily
                     AS is_raised) c
    WHERE l.account_id = account.id;
    account := ledger.write_limits(
        account.id, now_single, now_daily, former, of_user, of_request, moment);
    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address, detail)
    VALUES (moment, of_user, account.id, 'account.updated', of_request, of_address,
            json_build_object('limits', ledger.limits_object(account), 'previous', former));
    limits := ledger.limits_object(account);
END
$$;

-- Writes pending limits whose time has come, of at most so many accounts. Returns their number.
CREATE FUNCTION ledger.apply_pending_limits(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    due     ledger.account_limits;
    moment  timestamptz := clock_timestamp();  -- the index is searched for a variable
    applied integer := 0;
    account ledger.accounts;
BEGIN
    IF (most BETWEEN 1 AND 1000) IS NOT TRUE THEN
        RAISE EXCEPTION 'most is 1 to 1000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR account IN
        SELECT a.* FROM ledger.accounts a
        WHERE a.id = ANY (ARRAY(
            SELECT l.account_id FROM ledger.account_limits l
            WHERE l.effective_at <= moment ORDER BY l.effective_at LIMIT most))
        ORDER BY a.id FOR NO KEY UPDATE
    LOOP
        moment := clock_timestamp();
        SELECT * INTO due FROM ledger.account_limits l
        WHERE l.account_id = account.id AND l.effective_at <= moment;
        CONTINUE WHEN NOT FOUND;
        UPDATE ledger.account_limits l SET effective_at = NULL
        WHERE l.account_id = account.id;
        PERFORM ledger.write_limits(
            account.id, due.pending_single, due.pending_daily,
            (ledger.limits_object(account)::jsonb || jsonb_build_object(
                'single', account.limit_single, 'daily', account.limit_daily,
                'pending', jsonb_build_object(
                    'single', due.pending_single, 'daily', due.pending_daily,
                    'effective_at', ledger.format_timestamp(due.effective_at))))::json,
            NULL, NULL, moment);
        applied := applied + 1;
    END LOOP;
    RETURN applied;
END
$$;

-- Operator: the limits of an account, and what its owner may raise them to. Null: none. One that is
-- not given stays as it is. What waited is dropped.
CREATE FUNCTION ledger.set_limits(
    origin ledger.operator_origin, of_account uuid, single bigint, daily bigint,
    has_single boolean DEFAULT true, has_daily boolean DEFAULT true
) RETURNS ledger.operator_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    account   ledger.accounts;
    ceiling   ledger.account_limits;
    now_single bigint;
    now_daily  bigint;
    system_id uuid;
    former    json;
    moment    timestamptz;
    result    ledger.operator_result;
BEGIN
    PERFORM ledger.check_operator_origin(origin);
    IF (COALESCE(single, 1) BETWEEN 1 AND 9007199254740991
        AND COALESCE(daily, 1) BETWEEN 1 AND 9007199254740991
        AND has_single IS NOT NULL AND has_daily IS NOT NULL) IS NOT TRUE THEN
        RAISE EXCEPTION 'a limit is 1 to 9007199254740991'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO account FROM ledger.accounts a
    WHERE a.id = of_account AND a.user_id IS NOT NULL AND a.status <> 'closed';
    IF NOT FOUND THEN
        RETURN ledger.unknown_result(origin, 'not_found');
    END IF;
    system_id := ledger.system_account(account.currency);
    PERFORM FROM ledger.accounts a WHERE a.id IN (of_account, system_id)
    ORDER BY a.id FOR NO KEY UPDATE;
    moment := clock_timestamp();
    result := ledger.stored_operator_result(origin, system_id);
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;
    SELECT * INTO account FROM ledger.accounts a WHERE a.id = of_account;
    result.outcome := CASE
        WHEN NOT ledger.is_operator(origin.operator_id)
            OR origin.operator_id = account.user_id THEN 'forbidden'
        WHEN account.status = 'closed' THEN 'not_found'
        ELSE 'completed' END;
    result.http_status := ledger.http_status(result.outcome::ledger.outcome, 'cancel');
    IF result.outcome = 'completed' THEN
        former := ledger.limits_object(account);
        SELECT * INTO ceiling FROM ledger.account_limits l WHERE l.account_id = of_account;
        SELECT l.singles[1], l.dailies[1] INTO now_single, now_daily
        FROM ledger.effective_limits(ARRAY[of_account], ARRAY[account.limit_single],
                                     ARRAY[account.limit_daily], moment) l;
        INSERT INTO ledger.account_limits AS l (account_id, ceiling_single, ceiling_daily)
        VALUES (of_account, CASE WHEN has_single THEN single ELSE ceiling.ceiling_single END,
                CASE WHEN has_daily THEN daily ELSE ceiling.ceiling_daily END)
        ON CONFLICT (account_id) DO UPDATE
            SET ceiling_single = excluded.ceiling_single, ceiling_daily = excluded.ceiling_daily,
                pending_single = NULL, pending_daily = NULL, effective_at = NULL;
        account := ledger.write_limits(
            of_account, CASE WHEN has_single THEN single ELSE now_single END,
            CASE WHEN has_daily THEN daily ELSE now_daily END, former, NULL, NULL, moment);
        INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address,
                               detail)
        VALUES (moment, origin.operator_id, of_account, 'account.updated', origin.request_id,
                origin.address, json_build_object('limits', ledger.limits_object(account),
                                                  'previous', former));
        result.users := ARRAY[account.user_id];
        result.answer := ledger.account_object(account)::text;
    END IF;
    RETURN ledger.store_operator_result(result, origin, system_id, NULL, moment);
END
$$;

GRANT EXECUTE ON FUNCTION ledger.change_limits, ledger.apply_pending_limits TO finpay_app;
GRANT EXECUTE ON FUNCTION ledger.set_limits TO finpay_operator;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
