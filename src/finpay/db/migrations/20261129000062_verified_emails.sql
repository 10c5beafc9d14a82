-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Whether the owner's e-mail address is verified stands in the row that the ledger locks anyway.
CREATE FUNCTION ledger.copy_email_verification() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE ledger.accounts SET email_verified = NEW.email_verified_at IS NOT NULL
    WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER users_email_verified AFTER UPDATE OF email_verified_at ON identity.users
    FOR EACH ROW WHEN (OLD.email_verified_at IS DISTINCT FROM NEW.email_verified_at)
    EXECUTE FUNCTION ledger.copy_email_verification();

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
