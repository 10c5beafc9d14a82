-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The past of accounts.held, which ledger.held_at reads: written in the commit that changes it.

-- What was held of the accounts before, but null where an entry of the commit batch has another
-- amount than the batch led to: such an entry is not the last word, even if nothing changed in all.
CREATE FUNCTION ledger.superseded_helds(
    former bigint[], items ledger.decided_item[], helds bigint[]
) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    item ledger.decided_item;
BEGIN
    FOREACH item IN ARRAY items LOOP
        IF item.sent_held <> helds[item.sender] THEN
            former[item.sender] := NULL;
        END IF;
        IF item.received_held <> helds[item.receiver] THEN
            former[item.receiver] := NULL;
        END IF;
    END LOOP;
    RETURN former;
END
$$;

-- Writes what is held of accounts from this moment on, where it changed. Per account.
CREATE FUNCTION ledger.record_held(
    account_ids uuid[], former bigint[], helds bigint[], sequences bigint[], moment timestamptz
) RETURNS void
LANGUAGE plpgsql  -- a function in SQL is planned anew by each commit
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    INSERT INTO ledger.held_changes (account_id, created_at, sequence, held)
    SELECT a.id, moment, a.sequence, a.held
    FROM unnest(account_ids, former, helds, sequences) AS a (id, former, held, sequence)
    WHERE a.held IS DISTINCT FROM a.former;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
