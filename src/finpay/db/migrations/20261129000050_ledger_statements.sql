-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The version of an account after its last entry of a moment: 0 before the first one, null for an
-- account that does not exist. Versions have no gaps and their times rise, so the entry is found by
-- bisection over the primary key: 20 look-ups among a million entries, and no index on the time.
CREATE FUNCTION ledger.version_at(of_account uuid, moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    low     bigint := 0;
    high    bigint;
    middle  bigint;
    made_at timestamptz;
BEGIN
    SELECT a.version INTO high FROM ledger.accounts a WHERE a.id = of_account;
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        SELECT e.created_at INTO STRICT made_at
        FROM ledger.entries e WHERE e.account_id = of_account AND e.version = middle;
        IF made_at <= moment THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN CASE WHEN high IS NOT NULL THEN low END;
END
$$;

-- What was held of an account at a moment: after its last change or its last entry until then,
-- whichever came later. `version` is that of ledger.version_at.
CREATE FUNCTION ledger.held_at(of_account uuid, moment timestamptz, version bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE((
        SELECT s.held
        FROM (
            (SELECT h.sequence, h.held FROM ledger.held_changes h
             WHERE h.account_id = of_account AND h.created_at <= moment
             ORDER BY h.created_at DESC, h.sequence DESC LIMIT 1)
            UNION ALL
            SELECT e.sequence, COALESCE(e.held_after, 0) FROM ledger.entries e
            WHERE e.account_id = of_account AND e.version = held_at.version
        ) s
        ORDER BY s.sequence DESC LIMIT 1), 0)
$$;

-- The transaction that holds the lock of an account and has not ended; null without one. It may
-- have taken the time of its entries already, so a moment is final only after its end. A row lock
-- without a waiter is in no view: its holder is xmax of the row, the low 32 bits of a transaction's
-- number, which the number of the snapshot completes.
CREATE FUNCTION ledger.open_writer(of_account uuid) RETURNS text
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT w.xid::text
    FROM ledger.accounts a,
         LATERAL (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) s,
         LATERAL (SELECT mod(s.next - a.xmax::text::bigint + 4294967296, 4294967296) AS age) g,
         LATERAL (SELECT (s.next - g.age + CASE WHEN g.age < 2147483648 THEN 0
                                                ELSE 4294967296 END)::text::xid8 AS xid) w
    WHERE a.id = of_account AND a.xmax <> '0'
      AND NOT pg_visible_in_snapshot(w.xid, pg_current_snapshot())
$$;

REVOKE EXECUTE ON FUNCTION ledger.version_at, ledger.held_at, ledger.open_writer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.version_at, ledger.held_at, ledger.open_writer TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
