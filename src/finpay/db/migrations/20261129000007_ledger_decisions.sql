-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- How the ledger decides, and what it answers. No function of this file reads or writes a table:
-- arguments in, result out. …_ledger_posting locks the accounts before, and writes the result
-- after. They have no search_path of their own, which each call would set anew: that of their
-- caller is fixed.

-- What can become of a transfer, in order of precedence: a request with two faults gets the first.
-- finpay.ledger.outcome has the same list; a test compares them.
CREATE TYPE ledger.outcome AS ENUM (
    'idempotency_key_reuse',
    'duplicate',
    'account_frozen',
    'same_account',
    'receiver_not_found',
    'receiver_unavailable',
    'currency_mismatch',
    'insufficient_funds',
    'balance_limit',
    'completed'
);

-- The HTTP status of a request's answer. Inlined by PostgreSQL, as the next one.
CREATE FUNCTION ledger.http_status(outcome ledger.outcome, mode text) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE outcome
    WHEN 'completed' THEN CASE mode WHEN 'independent' THEN 200 ELSE 201 END
    WHEN 'insufficient_funds' THEN 402
    WHEN 'account_frozen' THEN 403
    WHEN 'receiver_not_found' THEN 404
    ELSE 422
END::smallint;

-- The outcome of one transfer: the first rule that it breaks. `same_account` and the receiver's
-- arguments are null where there is no receiver.
CREATE FUNCTION ledger.transfer_outcome(
    amount bigint,
    currency text,            -- null: the sender's
    same_account boolean,
    sender_frozen boolean,
    sender_currency text,
    sender_available bigint,
    receiver_frozen boolean,
    receiver_currency text,
    receiver_balance bigint
) RETURNS ledger.outcome
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN sender_frozen THEN 'account_frozen'::ledger.outcome
    WHEN same_account THEN 'same_account'
    WHEN receiver_balance IS NULL THEN 'receiver_not_found'
    WHEN receiver_frozen THEN 'receiver_unavailable'
    WHEN sender_currency <> receiver_currency THEN 'currency_mismatch'
    WHEN currency <> sender_currency THEN 'currency_mismatch'
    WHEN sender_available < amount THEN 'insufficient_funds'
    WHEN receiver_balance > 9007199254740991 - amount THEN 'balance_limit'
    ELSE 'completed'
END;

-- A transaction that is recorded for an item of a commit batch. Parties are positions in the locked
-- accounts. The receiver's side of a failed one is null.
CREATE TYPE ledger.decided_item AS (
    id                uuid,
    amount            bigint,
    outcome           ledger.outcome,
    request           integer,
    index             integer, -- in its request, from 0
    sender            integer,
    receiver          integer,
    sent_sequence     bigint,  -- null: a refusal, of which no transaction is recorded
    sent_version      bigint,
    sent_balance      bigint,
    received_sequence bigint,
    received_version  bigint,
    received_balance  bigint
);

-- The part of its sender's history that a transfer batch made: see ledger.transfer_batches.
CREATE TYPE ledger.history_range AS (
    version_from  bigint,
    version_to    bigint,
    sequence_from bigint,
    sequence_to   bigint
);

-- What becomes of a commit batch.
CREATE TYPE ledger.decisions AS (
    -- Per request.
    outcomes         ledger.outcome[],  -- of an atomic batch: its first refusal
    sender_sequences bigint[],          -- the sender's last; null: the request changed nothing
    ranges           ledger.history_range[],  -- null for a single transfer
    -- Per item.
    items              ledger.decided_item[],  -- null: not tried, or reverted
    item_outcomes      ledger.outcome[],
    receiver_users     uuid[],          -- null, as the next: not completed
    receiver_sequences bigint[],
    -- Per account: after the batch.
    balances  bigint[],
    versions  bigint[],
    sequences bigint[]
);

-- Decides a commit batch, item by item in the order of the input, each on the balances that the
-- items before it left. Request q owns the next sizes[q] items. A refused item changes nothing for
-- its neighbours; a refused item of an atomic batch reverts the items of its batch before it, and
-- those after it are not tried. `stored` are the outcomes of requests whose keys were answered
-- before, null for the others. Senders and receivers are positions in the accounts; a receiver may
-- be null.
--
-- Another kind of operation is another outcome function, and another branch where an outcome is
-- applied: its items have the same rows.
CREATE FUNCTION ledger.decide_transfers(
    -- Per account.
    users      uuid[],
    balances   bigint[],
    helds      bigint[],
    versions   bigint[],
    sequences  bigint[],
    own_currencies text[],
    frozen     boolean[],
    -- Per request.
    senders    integer[],
    modes      text[],
    sizes      integer[],
    stored     ledger.outcome[],
    -- Per item.
    ids        uuid[],
    receivers  integer[],
    amounts    bigint[],
    currencies text[]
) RETURNS ledger.decisions
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    request_count CONSTANT integer := cardinality(sizes);
    item_count    CONSTANT integer := cardinality(amounts);
    -- Lengths are set once, so that elements can be assigned in any order.
    outcomes           ledger.outcome[] := stored;
    sender_sequences   bigint[] := array_fill(NULL::bigint, ARRAY[request_count]);
    ranges             ledger.history_range[] :=
        array_fill(NULL::ledger.history_range, ARRAY[request_count]);
    items              ledger.decided_item[] :=
        array_fill(NULL::ledger.decided_item, ARRAY[item_count]);
    item_outcomes      ledger.outcome[] := array_fill(NULL::ledger.outcome, ARRAY[item_count]);
    receiver_users     uuid[] := array_fill(NULL::uuid, ARRAY[item_count]);
    receiver_sequences bigint[] := array_fill(NULL::bigint, ARRAY[item_count]);
    first   integer;
    last    integer := 0;
    s       integer;  -- the sender
    r       integer;  -- the receiver of an item
    outcome ledger.outcome;
    version_before  bigint;
    sequence_before bigint;
BEGIN
    FOR q IN 1 .. request_count LOOP
        first := last + 1;
        last  := last + sizes[q];
        CONTINUE WHEN stored[q] IS NOT NULL;
        s := senders[q];
        version_before  := versions[s];
        sequence_before := sequences[s];
        FOR i IN first .. last LOOP
            r := receivers[i];
            outcome := ledger.transfer_outcome(
                amounts[i], currencies[i], s = r,
                frozen[s], own_currencies[s], balances[s] - helds[s],
                frozen[r], own_currencies[r], balances[r]);
            item_outcomes[i] := outcome;
            IF outcome = 'completed' THEN
                balances[s]  := balances[s] - amounts[i];
                versions[s]  := versions[s] + 1;
                sequences[s] := sequences[s] + 1;
                balances[r]  := balances[r] + amounts[i];
                versions[r]  := versions[r] + 1;
                sequences[r] := sequences[r] + 1;
                items[i] := ROW(ids[i], amounts[i], outcome, q, i - first, s, r,
                                sequences[s], versions[s], balances[s],
                                sequences[r], versions[r], balances[r]);
                receiver_users[i]     := users[r];
                receiver_sequences[i] := sequences[r];
            ELSIF modes[q] <> 'atomic' AND outcome = 'insufficient_funds' THEN
                sequences[s] := sequences[s] + 1;  -- a failed transaction takes no version
                items[i] := ROW(ids[i], amounts[i], outcome, q, i - first, s, r,
                                sequences[s], versions[s], balances[s], NULL, NULL, NULL);
            ELSE
                items[i] := ROW(ids[i], amounts[i], outcome, q, i - first, s, r,
                                NULL, NULL, NULL, NULL, NULL, NULL);
            END IF;
            CONTINUE WHEN outcome = 'completed' OR modes[q] <> 'atomic';

            FOR reverted IN REVERSE i - 1 .. first LOOP
                r := receivers[reverted];
                balances[s]  := balances[s] + amounts[reverted];
                versions[s]  := versions[s] - 1;
                sequences[s] := sequences[s] - 1;
                balances[r]  := balances[r] - amounts[reverted];
                versions[r]  := versions[r] - 1;
                sequences[r] := sequences[r] - 1;
                items[reverted]              := NULL;
                item_outcomes[reverted]      := NULL;
                receiver_users[reverted]     := NULL;
                receiver_sequences[reverted] := NULL;
            END LOOP;
            EXIT;
        END LOOP;

        outcomes[q] := CASE WHEN modes[q] = 'independent' THEN 'completed' ELSE outcome END;
        IF sequences[s] <> sequence_before THEN
            sender_sequences[q] := sequences[s];
        END IF;
        IF modes[q] <> 'one' THEN
            ranges[q] := ROW(version_before + 1, versions[s] + 1,
                             sequence_before + 1, sequences[s] + 1);
        END IF;
    END LOOP;

    -- A duplicate may be the retry of a commit whose answer was lost: the sender's last sequence.
    FOR q IN 1 .. request_count LOOP
        IF stored[q] IS NOT NULL THEN
            sender_sequences[q] := sequences[senders[q]];
        END IF;
    END LOOP;
    RETURN ROW(outcomes, sender_sequences, ranges, items, item_outcomes, receiver_users,
               receiver_sequences, balances, versions, sequences);
END
$$;

-- The answers to the requests of a commit batch.
CREATE TYPE ledger.answers AS (
    bodies          text[],
    http_statuses   smallint[],
    transaction_ids uuid[]      -- the key's; null: none was recorded, or a transfer batch
);

-- Adds the answers that are not stored yet. A template is filled with: currency, receiver, balance
-- after, time (replies); request id, transaction id (refusals of transfers); request id, index, the
-- member transaction_id (refusals of items of a transfer batch).
CREATE FUNCTION ledger.compose_answers(
    decided     ledger.decisions,
    currencies  text[],          -- per account
    public_ids  text[],
    modes       text[],          -- per request
    sizes       integer[],
    request_ids text[],
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
    outcome_order  CONSTANT ledger.outcome[] := enum_range(NULL::ledger.outcome);
    timestamp_text CONSTANT text := to_char(moment AT TIME ZONE 'UTC',
                                            'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    outcomes ledger.outcome[]      := decided.outcomes;
    items    ledger.decided_item[] := decided.items;
    first    integer;
    last     integer := 0;
    item     ledger.decided_item;
    body     text;
    parts    text[];
BEGIN
    FOR q IN 1 .. cardinality(sizes) LOOP
        first := last + 1;
        last  := last + sizes[q];
        CONTINUE WHEN outcomes[q] <= 'duplicate';
        http_statuses[q] := ledger.http_status(outcomes[q], modes[q]);
        parts := '{}';
        FOR i IN first .. last LOOP
            item := items[i];
            CONTINUE WHEN item.outcome IS NULL;
            IF item.outcome = 'completed' THEN
                body := format(replies[i], currencies[item.sender], public_ids[item.receiver],
                               item.sent_balance, timestamp_text);
            ELSIF modes[q] = 'one' THEN
                body := format(
                    refusals[array_position(outcome_order, item.outcome)], request_ids[q],
                    CASE WHEN item.sent_sequence IS NOT NULL
                         THEN ledger.type_id('txn', ids[i]) END);
            ELSE
                body := format(
                    refusals[cardinality(outcome_order)
                             + array_position(outcome_order, item.outcome)],
                    request_ids[q], i - first,
                    CASE WHEN modes[q] = 'atomic' THEN ',"transaction_id":null'
                         WHEN item.sent_sequence IS NOT NULL
                         THEN ',"transaction_id":"' || ledger.type_id('txn', ids[i]) || '"' END);
                IF modes[q] = 'independent' THEN
                    body := format('{"index":%s,"status":"failed","transaction":null,"error":%s}',
                                   i - first, body);
                END IF;
            END IF;
            IF modes[q] = 'one' THEN
                IF item.sent_sequence IS NOT NULL THEN
                    transaction_ids[q] := ids[i];
                END IF;
            ELSE
                parts := parts || body;
            END IF;
        END LOOP;
        -- The only part of a refused atomic batch is the refusal of one item.
        bodies[q] := CASE
            WHEN modes[q] = 'one' THEN body
            WHEN outcomes[q] = 'completed'
                THEN '{"object":"batch","data":[' || array_to_string(parts, ',') || ']}'
            ELSE parts[1] END;
    END LOOP;
    RETURN ROW(bodies, http_statuses, transaction_ids);
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
