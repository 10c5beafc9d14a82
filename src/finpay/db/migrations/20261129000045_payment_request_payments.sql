-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The result of a payment, as ledger.posting_results has it for one request.
CREATE TYPE ledger.payment_result AS (
    outcome        text,
    http_status    smallint,
    answer         text,
    fingerprint    bytea,
    transaction_id uuid,
    receiver       uuid   -- the requester's user, where money was moved
);

-- Pays a request: the transfer and the end of the request are one commit, decided under the locks
-- of the payer's and the requester's account. Every outcome is stored with the key. In order:
-- not_found for who may not know of it, forbidden for the requester, account_frozen,
-- request_not_open, and the other refusals of a transfer, after which the request stays open.
--
-- `reply` is the template of a transfer's answer, `refusals` those of refusals: see
-- ledger.post_transfers. `own_refusals` are the bodies of not_found, forbidden and
-- request_not_open, the last a template for the status.
CREATE FUNCTION ledger.pay_payment_request(
    origin         ledger.change_origin,
    of_id          uuid,
    transaction_id uuid,
    reply          text,
    refusals       text[],
    own_refusals   text[],
    public_url     text
) RETURNS ledger.payment_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    request  ledger.payment_requests;
    caller   ledger.accounts;
    parties  uuid[];
    result   ledger.change_result;
    posted   ledger.posting_results;
    moment   timestamptz;
    refused  integer;
BEGIN
    IF ledger.origin_error(origin) IS NOT NULL OR origin.key IS NULL OR of_id IS NULL
       OR transaction_id IS NULL OR octet_length(public_url) > 2048
       OR (array_dims(own_refusals) = '[1:3]'
           AND octet_length(array_to_string(own_refusals, '')) <= 65536) IS NOT TRUE THEN
        RAISE EXCEPTION 'an argument is not valid' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- What decides who may pay never changes, but for a payer who registered later.
    SELECT * INTO request FROM ledger.payment_requests r
    WHERE r.id = of_id AND r.account_id = r.requester_id;
    SELECT array_agg(a.id ORDER BY a.id) INTO parties
    FROM (SELECT id FROM ledger.accounts
          WHERE user_id = origin.user_id OR id = request.requester_id
          ORDER BY id FOR NO KEY UPDATE) a;
    SELECT * INTO caller FROM ledger.accounts a WHERE a.user_id = origin.user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the user has no account' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    moment := clock_timestamp();
    result := ledger.stored_result(origin);
    IF result.outcome IS NOT NULL THEN
        RETURN ROW(result.outcome, result.http_status, result.answer, result.fingerprint, (
            SELECT k.transaction_id FROM ledger.idempotency_keys k
            WHERE k.principal_id = origin.user_id AND k.key = origin.key), NULL::uuid);
    END IF;

    SELECT * INTO request FROM ledger.payment_requests r
    WHERE r.id = of_id AND r.account_id = request.requester_id;
    refused := CASE
        WHEN request.id IS NULL THEN 1
        WHEN request.requester_id = caller.id THEN 2
        WHEN request.payer_email IS NOT NULL AND caller.id IS DISTINCT FROM
             COALESCE(request.payer_id, ledger.account_of_email(request.payer_email)) THEN 1
        WHEN ledger.owner_refusal(caller.status, caller.email_verified) IS NULL
             AND ledger.payment_request_status_at(request, moment) <> 'open' THEN 3 END;
    IF refused IS NOT NULL THEN
        result.outcome := (ARRAY['not_found', 'forbidden', 'request_not_open'])[refused];
        result.http_status := (ARRAY[404, 403, 409])[refused];
        result.answer := CASE refused
            WHEN 3 THEN format(own_refusals[3], ledger.payment_request_status_at(request, moment))
            ELSE own_refusals[refused] END;
        result := ledger.store_result(result, origin, 'payment_request.refused', moment);
        RETURN ROW(result.outcome, result.http_status, result.answer, result.fingerprint,
                   NULL::uuid, NULL::uuid);
    END IF;

    posted := ledger.post_batch(
        parties, ARRAY[array_position(parties, caller.id)], ARRAY[origin.key],
        ARRAY[origin.fingerprint], ARRAY[origin.request_id], ARRAY[origin.address],
        ARRAY['transfer'], ARRAY[1], NULL, NULL, NULL, NULL, NULL, ARRAY[transaction_id],
        ARRAY[array_position(parties, request.requester_id)], NULL, ARRAY[request.amount],
        ARRAY[request.currency], ARRAY[request.description],
        ARRAY[request.metadata::text], ARRAY[reply], refusals,
        NULL, 'payment_request', ARRAY[request.id], NULL);
    IF posted.outcomes[1] = 'completed' THEN
        PERFORM ledger.close_payment_request(request, caller.id, 'paid', transaction_id, origin,
                                             public_url, clock_timestamp());
    END IF;
    RETURN ROW(posted.outcomes[1]::text, posted.http_statuses[1], posted.answers[1],
               origin.fingerprint, posted.transaction_ids[1], posted.receiver_users[1]);
END
$$;

GRANT EXECUTE ON FUNCTION ledger.pay_payment_request TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
