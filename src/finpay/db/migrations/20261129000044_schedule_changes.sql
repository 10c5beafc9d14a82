-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- How the owner makes, pauses, resumes and ends schedules.

-- Makes a schedule of the user. `refusals` are the bodies of account_frozen, same_account,
-- receiver_not_found and currency_mismatch. The outcome is validation_failed, and nothing is
-- stored, where `invalid` names one of start_in_past, start_too_late, until_before_start and
-- too_many_active. The id is made here, as the keys of the runs belong to it. 22023 for arguments
-- that no caller of ours sends, before a row is touched.
CREATE FUNCTION ledger.create_schedule(
    origin ledger.change_origin,
    receiver       uuid,     -- the account; null: the e-mail address names it
    receiver_email text,
    amount         bigint,
    currency       text,     -- null: the sender's
    description    text,
    metadata       text,
    start_at       timestamptz,
    every_count    integer,
    every_unit     text,
    zone           text,
    until          timestamptz,
    occurrences    integer,
    refusals       text[]
) RETURNS ledger.change_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    max_active CONSTANT integer := 100;
    invalid    text;
    owner      ledger.accounts;
    receiving  ledger.accounts;
    result     ledger.change_result;
    schedule   ledger.schedules;
    moment     timestamptz;
    refused    integer;
BEGIN
    invalid := CASE
        WHEN ledger.origin_error(origin) IS NOT NULL THEN ledger.origin_error(origin)
        WHEN (receiver IS NULL) = (receiver_email IS NULL)
            THEN 'a receiver is named by an account or by an e-mail address'
        WHEN (amount BETWEEN 1 AND 9007199254740991) IS NOT TRUE
            THEN 'an amount is not 1 to 9007199254740991'
        WHEN currency !~ '^[A-Z]{3}$' THEN 'currency is not an ISO 4217 code'
        WHEN char_length(description) > 500 THEN 'a description has at most 500 characters'
        WHEN ledger.is_metadata(metadata) IS NOT TRUE
            THEN 'metadata is an object of strings of at most 4 KiB'
        WHEN start_at IS NULL OR NOT isfinite(start_at) OR NOT isfinite(until)
            THEN 'a time is not a moment'
        WHEN num_nulls(every_count, every_unit) = 1
            OR (every_count BETWEEN 1 AND 365 AND every_unit IN ('day', 'week', 'month')) IS FALSE
            THEN 'an interval is 1 to 365 days, weeks or months'
        WHEN (zone ~ '^[A-Za-z0-9_+/-]{1,64}$') IS NOT TRUE THEN 'the time zone is not a name'
        WHEN num_nonnulls(until, occurrences) = 2
             OR every_unit IS NULL AND num_nonnulls(until, occurrences) > 0
             OR occurrences NOT BETWEEN 1 AND 1000000
            THEN 'until and occurrences end a schedule that repeats, one of them'
        WHEN (array_dims(refusals) = '[1:4]' AND octet_length(array_to_string(refusals, ''))
              <= 65536) IS NOT TRUE THEN 'refusals need four bodies of 64 KiB together'
    END;
    IF invalid IS NOT NULL THEN
        RAISE EXCEPTION '%', invalid USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM start_at AT TIME ZONE zone;  -- 22023 for a zone that is not known

    SELECT * INTO owner FROM ledger.accounts a WHERE a.user_id = origin.user_id
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the user has no account' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    moment := clock_timestamp();
    result := ledger.stored_result(origin);
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;
    -- The receiver may be locked by another transaction, and is read without a lock: its status
    -- does not count here, and its currency never changes.
    SELECT * INTO receiving FROM ledger.accounts a
    WHERE a.id = COALESCE(receiver, ledger.account_of_email(receiver_email))
      AND a.user_id IS NOT NULL AND a.status <> 'closed';
    refused := CASE
        WHEN owner.status <> 'active' THEN 1
        WHEN receiving.id = owner.id THEN 2
        WHEN receiving.id IS NULL THEN 3
        WHEN receiving.currency <> owner.currency OR currency <> owner.currency THEN 4 END;
    IF refused IS NOT NULL THEN
        result.outcome := (ARRAY['account_frozen', 'same_account', 'receiver_not_found',
                                 'currency_mismatch'])[refused];
        result.http_status := ledger.http_status(
            result.outcome::ledger.outcome, 'transfer');
        result.answer := refusals[refused];
        RETURN ledger.store_result(result, origin, 'schedule.refused', moment);
    END IF;
    result.invalid := CASE
        WHEN start_at < moment THEN 'start_in_past'
        WHEN start_at > moment + interval '5 years' THEN 'start_too_late'
        WHEN until < start_at THEN 'until_before_start'
        WHEN (SELECT count(*) FROM ledger.schedules s
              WHERE s.account_id = owner.id AND s.status = 'active') >= max_active
            THEN 'too_many_active' END;
    IF result.invalid IS NOT NULL THEN
        result.outcome := 'validation_failed';
        RETURN result;
    END IF;

    INSERT INTO ledger.schedules (
        account_id, id, receiver_id, amount, start_at, until, next_at, created_at, occurrences,
        every_count, every_unit, currency, timezone, description, metadata)
    VALUES (owner.id, webhooks.new_id(), receiving.id, amount, start_at, until, start_at, moment,
            occurrences, every_count, every_unit::ledger.schedule_unit, owner.currency, zone,
            description, metadata::json)
    RETURNING * INTO schedule;
    result.outcome := 'completed';
    result.http_status := 201;
    result.answer := ledger.schedule_object(schedule);
    PERFORM ledger.record_event(owner.id, 'schedule.created', result.answer, NULL, origin, moment);
    PERFORM ledger.record_change(schedule.id, 'schedule.created', origin, moment);
    RETURN ledger.store_result(result, origin, NULL, moment);
END
$$;

-- Where a schedule goes on: its next occurrence after a moment, and whether there is one.
CREATE FUNCTION ledger.advanced_schedule(schedule ledger.schedules, n integer)
RETURNS ledger.schedules
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    schedule.next_occurrence := n;
    schedule.leased_until := NULL;
    schedule.next_at := CASE WHEN schedule.runs = schedule.occurrences THEN NULL ELSE
        ledger.occurrence(schedule.start_at, schedule.every_count, schedule.every_unit,
                          schedule.timezone, n) END;
    IF schedule.next_at IS NULL OR schedule.next_at > schedule.until THEN
        schedule.next_at := NULL;
        schedule.status := 'ended';
    END IF;
    RETURN schedule;
END
$$;

-- Pauses, resumes or cancels a schedule of the user. The outcome is not_found, account_frozen (of
-- resuming), schedule_not_active for one that has ended, validation_failed with too_many_active, or
-- completed with the schedule. Pausing a paused one and resuming an active one change nothing.
-- Resuming skips the occurrences that were due meanwhile.
CREATE FUNCTION ledger.change_schedule(origin ledger.change_origin, of_id uuid, command text)
RETURNS ledger.change_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    max_active CONSTANT integer := 100;
    owner      ledger.accounts;
    schedule   ledger.schedules;
    former     ledger.schedules;
    result     ledger.change_result;
    moment     timestamptz;
    action     text;
BEGIN
    IF ledger.origin_error(origin) IS NOT NULL OR origin.key IS NOT NULL OR of_id IS NULL
       OR (command IN ('pause', 'resume', 'cancel')) IS NOT TRUE THEN
        RAISE EXCEPTION 'an argument is not valid' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO owner FROM ledger.accounts a WHERE a.user_id = origin.user_id
    FOR NO KEY UPDATE;
    moment := clock_timestamp();
    SELECT * INTO former FROM ledger.schedules s WHERE s.account_id = owner.id AND s.id = of_id;
    schedule := former;
    result.outcome := CASE
        WHEN former.id IS NULL THEN 'not_found'
        WHEN command = 'resume' AND owner.status <> 'active' THEN 'account_frozen'
        WHEN former.status = 'ended' THEN 'schedule_not_active'
        WHEN command = 'resume' AND former.status = 'paused' AND (
                SELECT count(*) FROM ledger.schedules s
                WHERE s.account_id = owner.id AND s.status = 'active') >= max_active
            THEN 'validation_failed'
        ELSE 'completed' END;
    IF result.outcome <> 'completed' THEN
        result.status_now := former.status;
        result.invalid := 'too_many_active';
        RETURN result;
    END IF;

    IF command = 'cancel' THEN
        schedule.status := 'ended';
        schedule.next_at := NULL;
    ELSIF command = 'pause' THEN
        schedule.status := 'paused';
    ELSIF former.status = 'paused' THEN
        schedule.status := 'active';
        schedule.failures_in_a_row := 0;
        schedule.late_in_a_row := 0;
        schedule := ledger.advanced_schedule(
            schedule, ledger.occurrence_after(schedule, moment));
    END IF;
    IF schedule.status <> former.status THEN
        PERFORM ledger.save_schedules(ARRAY[schedule]);
        action := 'schedule.' || CASE schedule.status
            WHEN 'active' THEN 'resumed' WHEN 'paused' THEN 'paused' ELSE 'ended' END;
        PERFORM ledger.record_event(
            owner.id, action, ledger.schedule_object(schedule),
            ledger.schedule_members(former, CASE schedule.status
                WHEN 'active' THEN ARRAY['status', 'next_at', 'failures_in_a_row']
                ELSE ARRAY['status', 'next_at'] END), origin, moment);
        PERFORM ledger.record_change(of_id, action, origin, moment);
    END IF;
    result.http_status := 200;
    result.answer := ledger.schedule_object(schedule);
    RETURN result;
END
$$;

-- Members of a schedule as the API shows them, for the member `previous` of an event.
CREATE FUNCTION ledger.schedule_members(schedule ledger.schedules, names text[]) RETURNS json
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_object_agg(m.key, m.value) FROM json_each(ledger.schedule_object(schedule)::json) m
    WHERE m.key = ANY (names)
$$;

-- Writes the columns of schedules that change.
CREATE FUNCTION ledger.save_schedules(schedules ledger.schedules[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    UPDATE ledger.schedules s
    SET last_transaction_id = n.last_transaction_id, next_at = n.next_at,
        leased_until = n.leased_until, next_occurrence = n.next_occurrence, runs = n.runs,
        failures_in_a_row = n.failures_in_a_row, late_in_a_row = n.late_in_a_row,
        status = n.status, last_failure_code = n.last_failure_code
    FROM unnest(schedules) n
    WHERE s.account_id = n.account_id AND s.id = n.id;
END
$$;

GRANT EXECUTE ON FUNCTION ledger.create_schedule, ledger.change_schedule TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
