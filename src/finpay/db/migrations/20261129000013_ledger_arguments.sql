-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Whether a text is metadata: a JSON object of strings alone, at most 4 KiB.
CREATE FUNCTION ledger.is_metadata(value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN octet_length(value) <= 4096 AND jsonb_typeof(value::jsonb) = 'object'
        AND NOT jsonb_path_exists(value::jsonb, '$.* ? (@.type() != "string")');
END
$$;

-- The first fault of the arguments of one request of ledger.post_transfers that has a target, or
-- null.
CREATE FUNCTION ledger.operation_error(
    mode text, target uuid, expiry integer, if_version bigint, if_balance bigint,
    amount bigint, receiver integer, email text
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE  -- PostgreSQL inlines it
RETURN CASE
    WHEN (target IS NULL) <> (mode NOT IN ('capture', 'void', 'refund', 'cancel', 'pay'))
        THEN 'a capture, void, refund, cancellation or payment of a request needs a target, '
             'nothing else has one'
    WHEN amount IS NULL AND mode NOT IN ('capture', 'void', 'refund', 'cancel', 'pay')
        THEN 'the amount is null'
    WHEN amount IS NOT NULL AND mode IN ('void', 'cancel', 'pay')
        THEN 'a void, a cancellation and a payment of a request have no amount'
    WHEN (COALESCE(receiver::text, email) IS NOT NULL)
         <> (mode IN ('transfer', 'independent', 'atomic', 'hold'))
        THEN 'a transfer and a hold name a receiver, nothing else does'
    WHEN (expiry BETWEEN 60 AND 2592000) IS NOT TRUE AND mode = 'hold'
        THEN 'a hold expires after 60 to 2592000 seconds'
    WHEN COALESCE(if_version, if_balance) IS NOT NULL AND mode NOT IN ('transfer', 'hold')
        THEN 'only a transfer and a hold have preconditions'
END;

-- The first fault of the arguments of ledger.post_transfers, or null. The app's login may have been
-- stolen, so nothing is taken for granted: arguments that pass can't break a rule of the books.
-- Their primary keys prove that ids and keys are distinct and new.
--
-- Few operators, over whole arrays where possible: each is set up anew in every transaction.
-- A comparison with ALL is null where an element is, so IS NOT TRUE also finds nulls.
CREATE FUNCTION ledger.argument_error(
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
) RETURNS text
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    max_items    CONSTANT integer := 10000;  -- ten times the largest transfer batch of the API
    max_template CONSTANT integer := 16384;  -- bytes: description and metadata, escaped
    templates    CONSTANT text := '[1:53]';  -- two per outcome, three of payments of requests
    requests     CONSTANT integer := cardinality(keys);
    items        CONSTANT integer := cardinality(ids);
    per_request  CONSTANT text := format('[1:%s]', requests);
    per_item     CONSTANT text := format('[1:%s]', items);
    first        integer;
    last         integer := 0;
    error        text;
BEGIN
    error := CASE
        WHEN (requests BETWEEN 1 AND items AND items <= max_items) IS NOT TRUE
            THEN format('a batch needs 1 to %s items, at least one per request', max_items)
        WHEN (per_request = ALL (ARRAY[
                array_dims(senders), array_dims(keys), array_dims(fingerprints),
                array_dims(request_ids), array_dims(addresses), array_dims(modes),
                array_dims(sizes)])) IS NOT TRUE
            THEN 'senders to sizes need one element per request'
        WHEN NOT (COALESCE(array_dims(targets) = per_request, targets IS NULL)
                  AND COALESCE(array_dims(expiries) = per_request, expiries IS NULL)
                  AND COALESCE(array_dims(finals) = per_request, finals IS NULL)
                  AND COALESCE(array_dims(if_versions) = per_request, if_versions IS NULL)
                  AND COALESCE(array_dims(if_balances) = per_request, if_balances IS NULL))
            THEN 'targets to if_balances are null or need one element per request'
        WHEN (per_item = ALL (ARRAY[
                array_dims(ids), array_dims(receivers), array_dims(amounts), array_dims(metadata),
                array_dims(replies), array_dims(COALESCE(emails, replies)),
                array_dims(COALESCE(currencies, replies)),
                array_dims(COALESCE(descriptions, replies))])) IS NOT TRUE
            THEN 'ids to replies need one element per item; emails, currencies and descriptions '
                 'may be null'
        WHEN (array_ndims(accounts) = 1 AND array_lower(accounts, 1) = 1) IS NOT TRUE
            THEN 'accounts need to be a list'
        WHEN (array_dims(refusals) = templates AND array_position(refusals, NULL) IS NULL
              AND pg_column_size(refusals) <= 8 * max_template) IS NOT TRUE
            THEN 'refusals need two templates per outcome and three more, of 128 KiB together'
        WHEN octet_length(public_url) > 2048
            THEN 'public_url has at most 2048 bytes'
        WHEN (1 <= ALL (senders) AND cardinality(accounts) >= ALL (senders)) IS NOT TRUE
            THEN 'a sender is not a position in accounts'
        WHEN (1 <= ALL (receivers) AND cardinality(accounts) >= ALL (receivers)) IS FALSE
            OR (targets IS NULL AND emails IS NULL AND array_position(receivers, NULL) > 0)
            THEN 'a receiver is not a position in accounts'
        WHEN (1 <= ALL (amounts) AND 9007199254740991 >= ALL (amounts)) IS FALSE
            OR (targets IS NULL AND array_position(amounts, NULL) IS NOT NULL)
            THEN 'an amount is not 1 to 9007199254740991'
        WHEN ('00000000-0000-0000-0000-000000000000' <> ALL (ids)) IS NOT TRUE
            THEN 'an id is null'
        WHEN NOT modes <@ ARRAY['transfer', 'independent', 'atomic', 'hold', 'capture', 'void',
                                'refund', 'withdrawal', 'cancel', 'pay']
            THEN 'a mode is unknown'
        WHEN (items >= ALL (sizes)) IS NOT TRUE
            THEN 'a size is more than all items'
        WHEN array_to_string(keys, '') ~ '[^!-~]'
            THEN 'a key has characters that are not visible ASCII'
    END;
    IF error IS NOT NULL THEN
        RETURN error;
    END IF;

    FOR q IN 1 .. requests LOOP
        IF (octet_length(keys[q]) BETWEEN 1 AND 255
            AND octet_length(request_ids[q]) <= 128 AND octet_length(fingerprints[q]) <= 64
            AND octet_length(COALESCE(addresses[q], '')) <= 64) IS NOT TRUE THEN
            RETURN format('request %s: a key has 1 to 255 characters, a request id at most 128, '
                          'a fingerprint and an address at most 64', q);
        ELSIF sizes[q] < 1
            OR (sizes[q] <> 1 AND modes[q] NOT IN ('independent', 'atomic')) THEN
            RETURN format('request %s has an impossible size', q);
        END IF;
        first := last + 1;
        last := last + sizes[q];
        IF modes[q] NOT IN ('transfer', 'independent', 'atomic') OR targets IS NOT NULL THEN
            error := ledger.operation_error(
                modes[q], targets[q], expiries[q], if_versions[q], if_balances[q],
                amounts[first], receivers[first], emails[first]);
            IF sizes[q] > 1 AND (array_position(amounts, NULL, first) <= last
                                 OR emails IS NULL
                                    AND array_position(receivers, NULL, first) <= last) THEN
                error := 'an amount or a receiver is null';
            END IF;
            IF error IS NOT NULL THEN
                RETURN format('request %s: %s', q, error);
            END IF;
        END IF;
    END LOOP;
    IF last <> items THEN
        RETURN 'the sizes do not sum to the number of items';
    END IF;

    FOR i IN 1 .. items LOOP
        IF (char_length(COALESCE(descriptions[i], '')) <= 500
            AND octet_length(replies[i]) <= max_template
            AND (metadata[i] = '{}' OR ledger.is_metadata(metadata[i]))) IS NOT TRUE THEN
            RETURN format('item %s: a description has at most 500 characters, metadata at most '
                          '4 KiB of strings, a template at most 16 KiB', i);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
