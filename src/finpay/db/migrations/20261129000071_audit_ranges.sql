-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Reads of the audit log by time.

-- An id of the audit log from which on the rows are of a moment or later; above every id if there
-- are none. Found by bisection over the primary key, so that the log, to which each transfer
-- writes, needs no index on its time. Ids are taken before their commits, so a row near the moment
-- may lie on its other side: callers widen the range and compare the times.
CREATE FUNCTION audit.first_id_since(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    low    bigint;  -- every row below it is older
    high   bigint;  -- the rows from it on are not
    middle bigint;
    row_at record;
BEGIN
    SELECT min(l.id), max(l.id) + 1 INTO low, high FROM audit.log l;
    WHILE low < high LOOP
        middle := low + (high - low) / 2;
        SELECT l.id, l.created_at INTO STRICT row_at
        FROM audit.log l WHERE l.id >= middle ORDER BY l.id LIMIT 1;
        IF row_at.created_at < moment THEN
            low := row_at.id + 1;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN COALESCE(low, 1);
END
$$;

GRANT EXECUTE ON FUNCTION audit.first_id_since TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
