-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What finpay_app may post: transfers, transfer batches and operations of its users, under their
-- own keys.
CREATE FUNCTION ledger.post_transfers(
    accounts     uuid[],
    senders      integer[],
    keys         text[],
    fingerprints bytea[],
    request_ids  text[],
    addresses    text[],
    modes        text[],
    sizes        integer[],
    targets      uuid[],
    expiries     integer[],
    finals       boolean[],
    if_versions  bigint[],
    if_balances  bigint[],
    ids          uuid[],
    receivers    integer[],
    emails       text[],
    amounts      bigint[],
    currencies   text[],
    descriptions text[],
    metadata     text[],
    replies      text[],
    refusals     text[],
    public_url   text
) RETURNS ledger.posting_results
LANGUAGE plpgsql SECURITY DEFINER  -- PostgreSQL would plan a function in SQL anew in each call
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ledger.post_batch(
        accounts, senders, keys, fingerprints, request_ids, addresses, modes, sizes, targets,
        expiries, finals, if_versions, if_balances, ids, receivers, emails, amounts, currencies,
        descriptions, metadata, replies, refusals, public_url,
        NULL, NULL, NULL, NULL);
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
