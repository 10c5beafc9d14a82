-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- One schema per package. finpay_owner owns all of it; what finpay_app gets stands in …07_rights.
CREATE SCHEMA identity;
CREATE SCHEMA ledger;
CREATE SCHEMA audit;
CREATE SCHEMA outbox;

-- No function is everybody's by default: one that creates money must not be granted by forgetting.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The public form of a uuid: prefix, underscore, 26 symbols of Crockford's base32 (TypeID 0.3).
-- The 128 bits are read as 130, so the first symbol is 0–7. finpay.ids does the same in Python.
CREATE FUNCTION ledger.type_id(prefix text, id uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT prefix || '_' || string_agg(
        substr('0123456789abcdefghjkmnpqrstvwxyz',
               substr(bits, at, 5)::bit(5)::integer + 1, 1), '' ORDER BY at)
    FROM (SELECT '00' || right(('x' || replace(id::text, '-', ''))::bit(128)::text, 128) AS bits) b,
         generate_series(1, 126, 5) AS at
$$;

-- Refuses what history must not suffer. A row trigger does not see TRUNCATE, so each table that
-- uses it has a statement trigger as well.
CREATE FUNCTION ledger.refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
