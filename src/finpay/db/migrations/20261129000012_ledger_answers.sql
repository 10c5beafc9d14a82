-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The answers to the requests of a commit batch.
CREATE TYPE ledger.answers AS (
    bodies          text[],
    http_statuses   smallint[],
    transaction_ids uuid[]      -- the key's; null: none was recorded, or a transfer batch
);

-- A text as a JSON string, or null.
CREATE FUNCTION ledger.json_string(value text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN COALESCE(to_json(value)::text, 'null');

-- Adds the answers that are not stored yet. The template of a reply is filled with: 1 currency,
-- 2 account id of the other party, 3 balance after, 4 time of the decision, 5 available after,
-- 6 amount, 7 description, 8 metadata, 9 captured amount, 10 time when it was made, 11 when it
-- expires; 3 and 5 are the caller's, those from 6 on are given to operations alone, 10 and 11 to
-- those that move no money. The template of a refusal is filled with: 1 request id, 2 index of the
-- item, 3 further members. Payments of requests have three of their own, after those of items.
CREATE FUNCTION ledger.compose_answers(
    decided     ledger.decisions,
    currencies  text[],          -- per account
    public_ids  text[],
    senders     integer[],       -- per request
    modes       text[],
    sizes       integer[],
    request_ids text[],
    targets     ledger.operation_target[],
    expiries    integer[],
    bodies          text[],      -- per request, as those of ledger.answers: the stored ones
    http_statuses   smallint[],
    transaction_ids uuid[],
    ids         uuid[],          -- per item
    replies     text[],
    refusals    text[],
    moment      timestamptz
) RETURNS ledger.answers
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    outcome_order  ledger.outcome[];  -- read from the catalogue by the first refusal
    time_format    CONSTANT text := 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"';
    timestamp_text CONSTANT text := to_char(moment AT TIME ZONE 'UTC', time_format);
    outcomes ledger.outcome[]      := decided.outcomes;
    items    ledger.decided_item[] := decided.items;
    first    integer;
    last     integer := 0;
    item     ledger.decided_item;
    target   ledger.operation_target;
    is_batch boolean;
    further  text;
    body     text;
    parts    text[];
BEGIN
    FOR q IN 1 .. cardinality(sizes) LOOP
        first := last + 1;
        last  := last + sizes[q];
        CONTINUE WHEN outcomes[q] <= 'duplicate';
        http_statuses[q] := ledger.http_status(outcomes[q], modes[q]);
        is_batch := modes[q] IN ('independent', 'atomic');
        parts := '{}';
        FOR i IN first .. last LOOP
            item := items[i];
            CONTINUE WHEN item.outcome IS NULL;
            IF item.outcome <> 'completed' THEN
                outcome_order := COALESCE(outcome_order, enum_range(NULL::ledger.outcome));
                further := CASE
                    WHEN item.sent_sequence IS NOT NULL
                        THEN ',"transaction_id":"' || ledger.type_id('txn', ids[i]) || '"'
                    WHEN item.outcome = 'insufficient_funds' OR modes[q] = 'atomic'
                        THEN ',"transaction_id":null' || COALESCE(decided.members[i], '')
                    ELSE decided.members[i] END;
                body := format(
                    refusals[COALESCE(
                        CASE modes[q] WHEN 'pay' THEN 2 * cardinality(outcome_order)
                            + array_position(ARRAY['not_found', 'forbidden', 'request_not_open'],
                                             item.outcome::text) END,
                        array_position(outcome_order, item.outcome)
                            + CASE WHEN is_batch THEN cardinality(outcome_order) ELSE 0 END)],
                    request_ids[q], i - first, further);
                IF modes[q] = 'independent' THEN
                    body := format('{"index":%s,"status":"failed","transaction":null,"error":%s}',
                                   i - first, body);
                END IF;
            ELSIF is_batch OR modes[q] = 'transfer' THEN
                body := format(replies[i], currencies[item.sender], public_ids[item.receiver],
                               item.sent_balance, timestamp_text,
                               item.sent_balance - item.sent_held);
            ELSE
                target := targets[q];
                IF modes[q] = 'void' THEN  -- captures of the same batch may have come before
                    target.taken := (SELECT o.taken FROM unnest(decided.operations) AS o
                                     WHERE o.item = i);
                END IF;
                body := format(
                    replies[i], currencies[item.sender],
                    public_ids[CASE senders[q] WHEN item.sender THEN item.receiver
                                               ELSE item.sender END],
                    CASE senders[q] WHEN item.sender THEN item.sent_balance
                                    ELSE item.received_balance END,
                    timestamp_text,
                    CASE senders[q] WHEN item.sender THEN item.sent_balance - item.sent_held
                                    ELSE item.received_balance - item.received_held END,
                    CASE WHEN item.sent_sequence IS NULL
                         THEN COALESCE(target.amount, item.amount) ELSE item.amount END,
                    COALESCE(to_json(target.description)::text, 'null'),
                    target.metadata, target.taken,
                    CASE WHEN item.sent_sequence IS NULL
                         THEN to_char(target.created_at AT TIME ZONE 'UTC', time_format) END,
                    CASE WHEN item.sent_sequence IS NULL
                         THEN to_char(COALESCE(target.expires_at,
                                               moment + make_interval(secs => expiries[q]))
                                      AT TIME ZONE 'UTC', time_format) END);
            END IF;
            IF is_batch THEN
                parts := parts || body;
            ELSIF item.sent_sequence IS NOT NULL THEN
                transaction_ids[q] := ids[i];
            END IF;
        END LOOP;
        -- The only part of a refused atomic batch is the refusal of one item.
        bodies[q] := CASE
            WHEN NOT is_batch THEN body
            WHEN outcomes[q] = 'completed'
                THEN '{"object":"batch","data":[' || array_to_string(parts, ',') || ']}'
            ELSE parts[1] END;
    END LOOP;
    RETURN ROW(bodies, http_statuses, transaction_ids);
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
