-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Schedules: the table, when each occurrence is due, and a schedule as events show it.

CREATE TYPE ledger.schedule_status AS ENUM ('active', 'paused', 'ended');
CREATE TYPE ledger.schedule_unit AS ENUM ('day', 'week', 'month');

-- Transfers that repeat. Occurrences are numbered from 0; an interval of time lies between two of
-- them. The row is the sender's and changes under the lock of the sender's account alone, but for
-- the lease of a worker, which decides nothing.
CREATE TABLE ledger.schedules (
    account_id          uuid        NOT NULL,  -- the sender
    id                  uuid        NOT NULL,
    receiver_id         uuid        NOT NULL,
    last_transaction_id uuid,                  -- null: no run recorded a transaction yet
    amount              bigint      NOT NULL,
    start_at            timestamptz NOT NULL,
    until               timestamptz,           -- the last moment at which a run may be due
    next_at             timestamptz,           -- of the next occurrence; null: it has ended
    leased_until        timestamptz,           -- a worker is about to run it
    created_at          timestamptz NOT NULL,
    next_occurrence     integer     NOT NULL DEFAULT 0,
    occurrences         integer,               -- the number of runs after which it ends
    runs                integer     NOT NULL DEFAULT 0,  -- occurrences tried
    failures_in_a_row   integer     NOT NULL DEFAULT 0,
    late_in_a_row       integer     NOT NULL DEFAULT 0,  -- runs whose successor was due already
    every_count         integer,               -- null, as the unit: once
    every_unit          ledger.schedule_unit,
    status              ledger.schedule_status NOT NULL DEFAULT 'active',
    currency            text        NOT NULL,
    timezone            text        NOT NULL,  -- of the IANA database
    description         text,
    metadata            json        NOT NULL,  -- json, not jsonb: returned as it was sent
    last_failure_code   text,                  -- of the last run; null if it succeeded
    CONSTRAINT schedules_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT schedules_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT schedules_parties CHECK (account_id <> receiver_id),
    CONSTRAINT schedules_every CHECK ((every_count IS NULL) = (every_unit IS NULL)
                                      AND every_count BETWEEN 1 AND 365),
    CONSTRAINT schedules_ended CHECK ((status = 'ended') = (next_at IS NULL)),
    CONSTRAINT schedules_runs CHECK (runs BETWEEN 0 AND next_occurrence AND runs <= occurrences
                                     AND failures_in_a_row BETWEEN 0 AND runs)
) WITH (fillfactor = 80);
CREATE INDEX schedules_due ON ledger.schedules (next_at) WHERE status = 'active';
CREATE INDEX schedules_active ON ledger.schedules (account_id) WHERE status = 'active';

CREATE TRIGGER schedules_fixed_columns BEFORE UPDATE OF
    account_id, id, receiver_id, amount, start_at, until, created_at, occurrences, every_count,
    every_unit, currency, timezone, description, metadata ON ledger.schedules
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER schedules_no_delete BEFORE DELETE ON ledger.schedules
    FOR EACH ROW EXECUTE FUNCTION ledger.reject_change();
CREATE TRIGGER schedules_no_truncate BEFORE TRUNCATE ON ledger.schedules
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.reject_change();

-- When occurrence n (from 0) is due; null after the last one. It is the start plus n intervals in
-- the civil time of the zone, so the local hour stays over daylight saving time, and a day that a
-- month does not have is that month's last day and comes back. PostgreSQL moves a local time that
-- does not exist forward by the gap; of one that exists twice it takes the second, here the first
-- is meant.
CREATE FUNCTION ledger.occurrence(
    start_at timestamptz, every_count integer, every_unit ledger.schedule_unit, zone text, n integer
) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- The number of units to the year 9999, from any start.
    most   CONSTANT integer := CASE every_unit WHEN 'month' THEN 120000 ELSE 3652500 END;
    count  CONSTANT bigint := n::bigint * every_count
                              * CASE every_unit WHEN 'week' THEN 7 ELSE 1 END;
    -- These names of zones are also abbreviations of fixed offsets, which PostgreSQL prefers.
    region CONSTANT text := CASE zone WHEN 'CET' THEN 'Europe/Brussels'
                                      WHEN 'MET' THEN 'Europe/Brussels'
                                      WHEN 'EET' THEN 'Europe/Athens'
                                      WHEN 'WET' THEN 'Europe/Lisbon' ELSE zone END;
    local  timestamp;
    second timestamptz;
    before timestamptz;
BEGIN
    IF n = 0 THEN
        RETURN start_at;
    ELSIF every_count IS NULL OR count > most THEN
        RETURN NULL;
    END IF;
    local := (start_at AT TIME ZONE region)
        + CASE every_unit WHEN 'month' THEN make_interval(months => count::integer)
                          ELSE make_interval(days => count::integer) END;
    IF local >= '9999-12-31' THEN
        RETURN NULL;
    END IF;
    second := local AT TIME ZONE region;
    -- The same local time with the offset of the day before.
    before := (local - ((second - interval '1 day') AT TIME ZONE region
                        - (second - interval '1 day') AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC';
    RETURN CASE WHEN before < second AND before AT TIME ZONE region = local
                THEN before ELSE second END;
END
$$;

-- The first occurrence from n on that is due after a moment; null if there is none.
CREATE FUNCTION ledger.occurrence_after(schedule ledger.schedules, moment timestamptz)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    low    integer := schedule.next_occurrence;
    high   integer;
    middle integer;
    due    timestamptz;
BEGIN
    -- No interval is shorter than a day, so what comes after it is due after the moment.
    high := GREATEST(low, extract(day FROM moment - schedule.start_at)::integer + 2);
    WHILE low < high LOOP  -- halves each time: at most 32 times
        middle := low + (high - low) / 2;
        due := ledger.occurrence(schedule.start_at, schedule.every_count, schedule.every_unit,
                                 schedule.timezone, middle);
        IF due <= moment THEN
            low := middle + 1;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN low;
END
$$;

-- A schedule as the API shows it: finpay.ledger.schedules.Schedule.
CREATE FUNCTION ledger.schedule_object(schedule ledger.schedules) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN format(
    '{"id":"%s","object":"schedule","status":"%s","receiver_id":"%s","amount":%s,"currency":"%s",'
    '"description":%s,"metadata":%s,"start_at":%s,"every":%s,"timezone":%s,"until":%s,'
    '"occurrences":%s,"next_at":%s,"runs":%s,"failures_in_a_row":%s,"last_transaction_id":%s,'
    '"last_failure_code":%s,"created_at":%s}',
    ledger.type_id('sch', schedule.id), schedule.status,
    ledger.type_id('acc', schedule.receiver_id), schedule.amount, schedule.currency,
    ledger.json_string(schedule.description),
    schedule.metadata, ledger.json_time(schedule.start_at),
    COALESCE('{"unit":"' || schedule.every_unit || '","count":' || schedule.every_count || '}',
             'null'),
    ledger.json_string(schedule.timezone), ledger.json_time(schedule.until),
    COALESCE(schedule.occurrences::text, 'null'),
    ledger.json_time(CASE schedule.status WHEN 'active' THEN schedule.next_at END), schedule.runs,
    schedule.failures_in_a_row,
    ledger.json_string(ledger.type_id('txn', schedule.last_transaction_id)),
    ledger.json_string(schedule.last_failure_code), ledger.json_time(schedule.created_at));

GRANT SELECT ON ledger.schedules TO finpay_app;
GRANT EXECUTE ON FUNCTION
    ledger.occurrence, ledger.schedule_object, ledger.json_string, ledger.json_time
TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
