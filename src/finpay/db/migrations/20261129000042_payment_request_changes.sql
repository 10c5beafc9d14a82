-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Makes the requests of one user, all or none: one for each element of `amounts` and
-- `payer_emails`, where null means that any user who has the id may pay. The answer is the
-- request, or with `is_split` a list of them. `refusals` are the bodies of the refusals
-- account_frozen and currency_mismatch. 22023 for arguments that no caller of ours sends, before a
-- row is touched.
--
-- Locks: the accounts of the requester and of the payers in id order. An e-mail address of
-- no user is treated in the same way, so that the answer does not say whether it is a user's.
CREATE FUNCTION ledger.create_payment_requests(
    origin ledger.change_origin,
    amounts      bigint[],
    payer_emails text[],
    currency     text,     -- null: the requester's
    description  text,
    metadata     text,
    expires_in_s integer,
    is_split     boolean,
    public_url   text,
    refusals     text[]
) RETURNS ledger.change_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    max_open CONSTANT integer := 100;  -- from one requester to one payer
    invalid  text;
    owner    ledger.accounts;
    payers   uuid[];
    name     text;
    result   ledger.change_result;
    request  ledger.payment_requests;
    objects  text[] := '{}';
    moment   timestamptz;
BEGIN
    invalid := CASE
        WHEN ledger.origin_error(origin) IS NOT NULL THEN ledger.origin_error(origin)
        WHEN array_dims(amounts) IS DISTINCT FROM format('[1:%s]', cardinality(amounts))
            OR array_dims(payer_emails) IS DISTINCT FROM array_dims(amounts)
            OR cardinality(amounts) > CASE WHEN is_split THEN 50 ELSE 1 END
            THEN 'amounts and payer_emails need one element per request, at most 50'
        WHEN (1 <= ALL (amounts) AND 9007199254740991 >= ALL (amounts)) IS NOT TRUE
            THEN 'an amount is not 1 to 9007199254740991'
        WHEN octet_length(array_to_string(payer_emails, '')) > 50 * 1024
            THEN 'the e-mail addresses are too long'
        WHEN (SELECT count(DISTINCT e) <> count(e) FROM unnest(payer_emails) e)
            THEN 'an e-mail address occurs twice'
        WHEN currency !~ '^[A-Z]{3}$' THEN 'currency is not an ISO 4217 code'
        WHEN char_length(description) > 500 THEN 'a description has at most 500 characters'
        WHEN ledger.is_metadata(metadata) IS NOT TRUE
            THEN 'metadata is an object of strings of at most 4 KiB'
        WHEN (expires_in_s BETWEEN 60 AND 31536000) IS NOT TRUE
            THEN 'expires_in_s is 60 to 31536000'
        WHEN is_split IS NULL THEN 'is_split is null'
        WHEN octet_length(public_url) > 2048 THEN 'public_url has at most 2048 bytes'
        WHEN (array_dims(refusals) = '[1:2]' AND octet_length(array_to_string(refusals, ''))
              <= 65536) IS NOT TRUE THEN 'refusals need two bodies of 64 KiB together'
    END;
    IF invalid IS NOT NULL THEN
        RAISE EXCEPTION '%', invalid USING ERRCODE = 'invalid_parameter_value';
    END IF;

    SELECT array_agg(ledger.account_of_email(e.email) ORDER BY e.n) INTO payers
    FROM unnest(payer_emails) WITH ORDINALITY AS e (email, n);
    PERFORM FROM ledger.accounts a WHERE a.user_id = origin.user_id OR a.id = ANY (payers)
    ORDER BY a.id FOR NO KEY UPDATE;
    SELECT * INTO owner FROM ledger.accounts a WHERE a.user_id = origin.user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the user has no account' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    moment := clock_timestamp();

    result := ledger.stored_result(origin);
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    ELSIF owner.status <> 'active' THEN
        result.outcome := 'account_frozen';
        result.http_status := 403;
        result.answer := refusals[1];
        RETURN ledger.store_result(result, origin, 'payment_request.refused', moment);
    ELSIF currency <> owner.currency THEN
        result.outcome := 'currency_mismatch';
        result.http_status := 422;
        result.answer := refusals[2];
        RETURN ledger.store_result(result, origin, 'payment_request.refused', moment);
    END IF;
    result.invalid := CASE
        WHEN owner.id = ANY (payers) THEN 'own_email'
        WHEN EXISTS (
            SELECT FROM ledger.payment_requests r
            WHERE r.account_id = owner.id AND r.requester_id = owner.id AND r.status = 'open'
              AND r.payer_email = ANY (payer_emails) AND r.expires_at > moment
            GROUP BY r.payer_email HAVING count(*) >= max_open) THEN 'too_many_open' END;
    IF result.invalid IS NOT NULL THEN
        result.outcome := 'validation_failed';
        RETURN result;
    END IF;

    name := ledger.owner_name(owner.id);
    FOR i IN 1 .. cardinality(amounts) LOOP
        request := ROW(owner.id, gen_random_uuid(), owner.id, payers[i], NULL, amounts[i],
                       moment + make_interval(secs => expires_in_s), moment, 'open',
                       owner.currency, payer_emails[i], description, metadata::json);
        INSERT INTO ledger.payment_requests SELECT request.*;
        objects := objects || ledger.payment_request_object(request, name, public_url);
        PERFORM ledger.record_event(owner.id, 'payment_request.created', objects[i], NULL, origin,
                                    moment);
        IF payers[i] IS NOT NULL THEN
            request.account_id := payers[i];
            INSERT INTO ledger.payment_requests SELECT request.*;
            PERFORM ledger.record_event(
                payers[i], 'payment_request.created',
                ledger.payment_request_object(request, name, public_url), NULL, origin, moment);
        END IF;
        PERFORM ledger.record_change(request.id, 'payment_request.created', origin, moment);
    END LOOP;
    result.outcome := 'completed';
    result.http_status := 201;
    result.answer := CASE WHEN is_split
        THEN '{"object":"list","data":[' || array_to_string(objects, ',')
             || '],"has_more":false,"next_cursor":null}'
        ELSE objects[1] END;
    RETURN ledger.store_result(result, origin, NULL, moment);
END
$$;

-- Cancels a request as its requester, or declines it as its named payer. The outcome is not_found
-- for others, forbidden for the other side, request_not_open with the status, or completed with the
-- request as the caller sees it.
CREATE FUNCTION ledger.end_payment_request(
    origin ledger.change_origin, of_id uuid, new_status text, public_url text
) RETURNS ledger.change_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    request ledger.payment_requests;
    caller  ledger.accounts;
    payer   uuid;
    result  ledger.change_result;
    moment  timestamptz;
BEGIN
    IF ledger.origin_error(origin) IS NOT NULL OR origin.key IS NOT NULL OR of_id IS NULL
       OR (new_status IN ('canceled', 'declined')) IS NOT TRUE OR octet_length(public_url) > 2048
    THEN
        RAISE EXCEPTION 'an argument is not valid' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- What decides who the parties are never changes, but for a payer who registered later.
    SELECT * INTO request FROM ledger.payment_requests r
    WHERE r.id = of_id AND r.account_id = r.requester_id;
    SELECT * INTO caller FROM ledger.accounts a WHERE a.user_id = origin.user_id;
    payer := COALESCE(request.payer_id, ledger.account_of_email(request.payer_email));
    result.outcome := CASE
        WHEN request.id IS NULL OR (caller.id IN (request.requester_id, payer)) IS NOT TRUE
            THEN 'not_found'
        WHEN (caller.id = request.requester_id) <> (new_status = 'canceled')
             OR request.payer_email IS NULL AND new_status = 'declined' THEN 'forbidden' END;
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;

    PERFORM FROM ledger.accounts a WHERE a.id IN (request.requester_id, payer)
    ORDER BY a.id FOR NO KEY UPDATE;
    moment := clock_timestamp();
    SELECT * INTO request FROM ledger.payment_requests r
    WHERE r.id = of_id AND r.account_id = request.requester_id;
    result.status_now := ledger.payment_request_status_at(request, moment);
    IF result.status_now <> 'open' THEN
        result.outcome := 'request_not_open';
        RETURN result;
    END IF;
    PERFORM ledger.close_payment_request(
        request, payer, new_status::ledger.payment_request_status, origin, public_url, moment);
    SELECT * INTO request FROM ledger.payment_requests r
    WHERE r.account_id = caller.id AND r.id = of_id;
    result.outcome := 'completed';
    result.http_status := 200;
    result.answer := ledger.payment_request_object(
        request, ledger.owner_name(request.requester_id), public_url);
    RETURN result;
END
$$;

-- Ends open requests whose time is over, the oldest first, at most `most`. Returns how many were
-- found, so that the caller knows whether more may be due. Any caller may do this at any time: only
-- what is past its time is touched. Accounts that another transaction holds are left for the next
-- call, so it never waits for one.
CREATE FUNCTION ledger.expire_payment_requests(most integer, public_url text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    worker  CONSTANT ledger.change_origin := NULL;
    moment  timestamptz := clock_timestamp();  -- the index is searched for a variable
    due     ledger.payment_requests[];
    parties uuid[];
    locked  uuid[];
    request ledger.payment_requests;
    payer   uuid;
    ended   integer := 0;
BEGIN
    IF (most BETWEEN 1 AND 1000) IS NOT TRUE OR octet_length(public_url) > 2048 THEN
        RAISE EXCEPTION 'most is 1 to 1000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(r), array_agg(r.requester_id)
               || array_agg(COALESCE(r.payer_id, ledger.account_of_email(r.payer_email)))
    INTO due, parties
    FROM (SELECT * FROM ledger.payment_requests r
          WHERE r.status = 'open' AND r.account_id = r.requester_id
            AND r.expires_at <= moment
          ORDER BY r.expires_at LIMIT most) r;
    IF due IS NULL THEN
        RETURN 0;
    END IF;
    SELECT COALESCE(array_agg(a.id), '{}') INTO locked
    FROM (SELECT id FROM ledger.accounts WHERE id = ANY (parties)
          ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) a;
    moment := clock_timestamp();
    FOREACH request IN ARRAY due LOOP
        payer := COALESCE(request.payer_id, ledger.account_of_email(request.payer_email));
        CONTINUE WHEN NOT request.requester_id = ANY (locked) OR NOT payer = ANY (locked);
        PERFORM FROM ledger.payment_requests r
        WHERE r.account_id = request.requester_id AND r.id = request.id AND r.status = 'open';
        CONTINUE WHEN NOT FOUND;
        PERFORM ledger.close_payment_request(request, payer, 'expired', worker, public_url,
                                             moment);
        ended := ended + 1;
    END LOOP;
    RETURN ended;
END
$$;

GRANT EXECUTE ON FUNCTION
    ledger.create_payment_requests,
    ledger.end_payment_request,
    ledger.expire_payment_requests
TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
