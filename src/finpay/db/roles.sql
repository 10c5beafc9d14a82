-- The three roles and the place where migrations are recorded. Run by finpay.db.migrate before
-- every migration, as the login of the owner URL: a superuser, or a login with CREATEROLE that
-- owns the database or may grant CREATE on it. It changes nothing that is already right.
DO $$
DECLARE
    wanted text;
    limits CONSTANT text[] := ARRAY['statement_timeout=3500ms', 'lock_timeout=3000ms',
                                    'idle_in_transaction_session_timeout=5000ms'];
BEGIN
    -- Another database of the cluster may run this at the same moment: roles belong to all of
    -- them, and the later session finds that the role exists.
    FOREACH wanted IN ARRAY ARRAY['finpay_owner', 'finpay_app', 'finpay_operator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        -- A member by name, so that it may SET ROLE. Since PostgreSQL 16 the maker of a role is
        -- given ADMIN alone, which lets it grant itself the rest; a plain GRANT does that, and
        -- version 15 knows it too. A superuser needs none.
        -- finpay_operator is taken by the login of FINPAY_DATABASE_OPERATOR_URL alone.
        CONTINUE WHEN wanted = 'finpay_operator';
        BEGIN
            EXECUTE format('SET LOCAL ROLE %I', wanted);
            RESET ROLE;
        EXCEPTION WHEN insufficient_privilege THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        END;
    END LOOP;

    -- What the app's pool sets on each connection, also for logins as this role and logins of
    -- its members without the pool. A member that uses SET ROLE keeps the settings of its login.
    IF (SELECT rolconfig FROM pg_roles WHERE rolname = 'finpay_app') IS DISTINCT FROM limits THEN
        BEGIN
            FOREACH wanted IN ARRAY limits LOOP
                EXECUTE format('ALTER ROLE finpay_app SET %s TO %L',
                               split_part(wanted, '=', 1), split_part(wanted, '=', 2));
            END LOOP;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;  -- this login has no ADMIN option on the role; the pool sets them as well
        END;
    END IF;

    -- The app needs no temporary tables and no large objects, and may store neither. Where this
    -- login does not own the database, it can't be refused; no function of FinPay reads them.
    IF has_database_privilege('finpay_app', current_database(), 'TEMPORARY') THEN
        BEGIN
            EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, finpay_app',
                           current_database());
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END IF;
    IF has_function_privilege('finpay_app', 'lo_create(oid)', 'EXECUTE') THEN
        BEGIN
            REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea)
                FROM PUBLIC;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END IF;

    IF NOT has_database_privilege('finpay_owner', current_database(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO finpay_owner', current_database());
    END IF;
END
$$;

SET LOCAL ROLE finpay_owner;
CREATE SCHEMA IF NOT EXISTS finpay;
-- dbmate's own shape.
CREATE TABLE IF NOT EXISTS finpay.schema_migrations (
    version varchar NOT NULL,
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
);
-- The app asks at start whether migrations are missing.
GRANT USAGE ON SCHEMA finpay TO finpay_app;
GRANT SELECT ON finpay.schema_migrations TO finpay_app;
-- dbmate asks as the login itself, which may be a member that does not inherit, and begins with
-- CREATE TABLE IF NOT EXISTS, for which PostgreSQL wants CREATE even if the table exists.
GRANT USAGE, CREATE ON SCHEMA finpay TO SESSION_USER;
GRANT SELECT ON finpay.schema_migrations TO SESSION_USER;
