-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- How a worker runs the schedules that are due.

-- Leases schedules that are due to one worker, the longest due first. A lease keeps other workers
-- away and decides nothing: ledger.run_schedules does. It ends with the run, or after `lease_s`
-- where the worker was killed.
CREATE FUNCTION ledger.lease_schedules(most integer, lease_s integer)
RETURNS TABLE (account_id uuid, id uuid, occurrence integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
#variable_conflict use_column
DECLARE
    moment CONSTANT timestamptz := clock_timestamp();  -- the index is searched for a variable
BEGIN
    IF (most BETWEEN 1 AND 1000 AND lease_s BETWEEN 1 AND 60) IS NOT TRUE THEN
        RAISE EXCEPTION 'most is 1 to 1000, lease_s 1 to 60'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    UPDATE ledger.schedules s
    SET leased_until = moment + make_interval(secs => lease_s)
    FROM (
        SELECT d.account_id, d.id FROM ledger.schedules d
        WHERE d.status = 'active' AND d.next_at <= moment
          AND (d.leased_until IS NULL OR d.leased_until < moment)
        ORDER BY d.next_at LIMIT most
        FOR NO KEY UPDATE SKIP LOCKED
    ) due
    WHERE s.account_id = due.account_id AND s.id = due.id
    RETURNING s.account_id, s.id, s.next_occurrence;
END
$$;

-- Runs due occurrences: their transfers, with keys of the schedules, and what becomes of the
-- schedules, in one commit under the locks of the accounts. An occurrence that was run already, or
-- is not due, or whose schedule is not active, is left out, so that each is run exactly once,
-- whatever is killed and however many workers run it. Returns the number of runs. `refusals`: see
-- ledger.post_transfers.
CREATE FUNCTION ledger.run_schedules(
    account_ids     uuid[],
    ids             uuid[],
    numbers         integer[],  -- of the occurrences
    transaction_ids uuid[],
    refusals        text[]
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    parties   uuid[];
    schedules ledger.schedules[];
    run_ids   uuid[];  -- the transactions of those that are run
    posted    ledger.posting_results;
    moment    timestamptz;
BEGIN
    IF (cardinality(ids) BETWEEN 1 AND 1000
        AND format('[1:%s]', cardinality(ids)) = ALL (ARRAY[
            array_dims(account_ids), array_dims(ids), array_dims(numbers),
            array_dims(transaction_ids)])
        AND '00000000-0000-0000-0000-000000000000' <> ALL (transaction_ids)) IS NOT TRUE THEN
        RAISE EXCEPTION 'account_ids to transaction_ids need one element per run, at most 1000'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(a.id ORDER BY a.id) INTO parties
    FROM (
        SELECT l.id FROM ledger.accounts l
        WHERE l.user_id IS NOT NULL AND l.id = ANY (account_ids || ARRAY(
            SELECT s.receiver_id FROM unnest(account_ids, ids) AS u (account_id, id)
            JOIN ledger.schedules s ON s.account_id = u.account_id AND s.id = u.id))
        ORDER BY l.id FOR NO KEY UPDATE
    ) a;
    moment := clock_timestamp();
    SELECT array_agg(s ORDER BY s.next_at, s.id),
           array_agg(u.transaction_id ORDER BY s.next_at, s.id)
    INTO schedules, run_ids
    FROM (SELECT DISTINCT ON (u.account_id, u.id) *
          FROM unnest(account_ids, ids, numbers, transaction_ids)
              AS u (account_id, id, number, transaction_id)) u
    JOIN ledger.schedules s ON s.account_id = u.account_id AND s.id = u.id
        AND s.next_occurrence = u.number
    WHERE s.status = 'active' AND s.next_at <= moment AND s.account_id = ANY (parties);
    IF schedules IS NULL THEN
        RETURN 0;
    END IF;

    posted := (SELECT ledger.post_batch(
        parties, array_agg(array_position(parties, s.account_id)),
        array_agg(s.next_occurrence::text), array_agg('\x'::bytea),
        array_agg(ledger.type_id('sch', s.id)), array_agg(NULL::text), array_agg('transfer'::text),
        array_agg(1), NULL, NULL, NULL, NULL, NULL, run_ids,
        array_agg(array_position(parties, s.receiver_id)), NULL,
        array_agg(s.amount), array_agg(s.currency), array_agg(s.description),
        array_agg(s.metadata::text), array_agg('{}'::text), refusals,
        NULL, array_agg(s.id), 'schedule', array_agg(s.id), array_agg(s.next_at))
        FROM unnest(schedules) s);
    FOR i IN 1 .. cardinality(schedules) LOOP
        schedules[i] := ledger.advance_schedule(
            schedules[i], posted.outcomes[i], posted.transaction_ids[i], moment);
    END LOOP;
    PERFORM ledger.save_schedules(schedules);
    RETURN cardinality(schedules);
END
$$;

-- What becomes of a schedule after a run: its counters, its next occurrence, and the events of a
-- failure, a pause and the end. Three failures in a row pause it, and so do 366 late runs in a row:
-- runs whose successor was due already.
CREATE FUNCTION ledger.advance_schedule(
    schedule ledger.schedules, outcome ledger.outcome, of_transaction uuid, moment timestamptz
) RETURNS ledger.schedules
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    max_failures CONSTANT integer := 3;
    max_late     CONSTANT integer := 366;
    former       ledger.schedules := schedule;
    failed       ledger.schedules;
    owner        ledger.change_origin;
BEGIN
    schedule.runs := schedule.runs + 1;
    schedule.last_transaction_id := COALESCE(of_transaction, schedule.last_transaction_id);
    schedule.last_failure_code := CASE WHEN outcome <> 'completed' THEN outcome::text END;
    schedule.failures_in_a_row :=
        CASE WHEN outcome = 'completed' THEN 0 ELSE schedule.failures_in_a_row + 1 END;
    schedule := ledger.advanced_schedule(schedule, schedule.next_occurrence + 1);
    schedule.late_in_a_row :=
        CASE WHEN schedule.next_at <= moment THEN schedule.late_in_a_row + 1 ELSE 0 END;
    IF outcome <> 'completed' OR schedule.status = 'ended'
       OR schedule.late_in_a_row = max_late THEN
        owner.user_id := (SELECT a.user_id FROM ledger.accounts a WHERE a.id = schedule.account_id);
        IF outcome <> 'completed' THEN
            failed := schedule;
            failed.status := 'active';
            PERFORM ledger.record_event(
                schedule.account_id, 'schedule.failed', ledger.schedule_object(failed),
                ledger.schedule_members(former, ARRAY[
                    'runs', 'failures_in_a_row', 'last_failure_code', 'last_transaction_id',
                    'next_at']), owner, moment);
            former := failed;
        END IF;
        IF schedule.status = 'active' AND (schedule.failures_in_a_row = max_failures
                                           OR schedule.late_in_a_row = max_late) THEN
            schedule.status := 'paused';
            former.next_at := schedule.next_at;
        END IF;
        IF schedule.status <> 'active' THEN
            PERFORM ledger.record_event(
                schedule.account_id, 'schedule.' || schedule.status,
                ledger.schedule_object(schedule),
                ledger.schedule_members(former, ARRAY['status', 'next_at']), owner, moment);
            PERFORM ledger.record_change(
                schedule.id, 'schedule.' || schedule.status, owner, moment);
        END IF;
    END IF;
    RETURN schedule;
END
$$;

GRANT EXECUTE ON FUNCTION ledger.lease_schedules, ledger.run_schedules TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
