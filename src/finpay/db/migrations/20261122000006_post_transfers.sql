-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Posts a batch of requests in one transaction and answers one outcome per request, in input order.
-- A request is one transfer or a bulk of them, under one idempotency key; its items stay together
-- in the order of the input. A request that is refused never spoils its neighbours.
--
-- `accounts` are the ids of all senders and receivers, each once, in order; what follows names them
-- by their places. Request q is (senders[q], keys[q], …) and owns the next sizes[q] items. Its mode
-- is 'one' (a transfer), 'independent' (a bulk whose items fail alone) or 'atomic' (a bulk of which
-- all is done or nothing). Item i is (ids[i], receivers[i], …); receivers[i] is null where
-- emails[i] names the user, currencies[i] null means the sender's.
--
-- replies[i] is the body of a completed item with four places for format(): currency, receiver,
-- balance after, time. refusals[n] is that of the n-th outcome with two: request id, transaction
-- id; behind these stand those for items of bulks with three: request id, index, the member
-- transaction_id. The finished body is stored with the key in this commit, and final.
--
-- Locks: the accounts of the batch in id order, nothing else. A user's keys need none, as every
-- request of a user locks that user's account first: whoever holds it sees every key committed
-- before. Two requests of one batch never share a key; the batcher sees to that, and else the
-- primary key of idempotency_keys refuses the batch.
CREATE FUNCTION ledger.post_transfers(
    accounts     uuid[],
    senders      integer[],
    keys         text[],
    fingerprints bytea[],
    request_ids  text[],
    addresses    text[],
    modes        text[],
    sizes        integer[],
    ids          uuid[],
    receivers    integer[],
    emails       text[],    -- null instead of an array where no item names an e-mail
    amounts      bigint[],
    currencies   text[],
    descriptions text[],
    metadata     text[],
    replies      text[],
    refusals     text[],
    -- One for each request.
    OUT outcomes         ledger.outcome[],  -- of a bulk: completed, or why an atomic one was not
    OUT http_statuses    smallint[],
    OUT answers          text[],
    OUT stored_prints    bytea[],   -- the fingerprint that the key belongs to
    OUT transaction_ids  uuid[],    -- the key's; null where nothing was recorded, and for bulks
    OUT sender_sequences bigint[],  -- the sender's last; null where nothing changed
    -- One for each item; null where nothing was done.
    OUT item_outcomes      ledger.outcome[],
    OUT receiver_users     uuid[],
    OUT receiver_sequences bigint[],
    OUT queued             integer    -- how many webhook deliveries it made
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan  -- planning was half the cost of a small batch
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    -- The locked accounts, in id order.
    account_ids uuid[];
    users       uuid[];
    balances    bigint[];
    helds       bigint[];
    versions    bigint[];
    sequences   bigint[];
    currency_of text[];
    frozen      boolean[];
    public_ids  text[];
    subscribed  uuid[];  -- those with a webhook endpoint; null: none has
    sender_at   integer[] := senders;    -- per request: the sender's place among them
    receiver_at integer[] := receivers;  -- per item: the receiver's
    named       uuid[];                  -- per item: whose e-mail it is
    recorded_ids      uuid[];     -- per item, as all of these: what was recorded and is told
    request_of        integer[];
    sent_sequences    bigint[];
    sent_versions     bigint[];
    sent_balances     bigint[];
    received_versions bigint[];
    received_balances bigint[];
    first_items       integer[] := senders;  -- per request: where its items begin
    request_count CONSTANT integer := cardinality(keys);
    item_count    CONSTANT integer := cardinality(ids);
    places        CONSTANT ledger.outcome[] := enum_range(NULL::ledger.outcome);
    -- The request that is decided.
    first integer; last integer := 0;
    s integer; r integer;  -- places of an item's sender and receiver
    bulk boolean; atomic boolean;
    parts           text[];
    refused         integer;
    version_before  bigint;
    sequence_before bigint;
    stored          record;
    outcome         ledger.outcome;
    now timestamptz; stamp text;
BEGIN
    -- Lengths are set once, so that items can be assigned in any order.
    outcomes           := array_fill(NULL::ledger.outcome, ARRAY[request_count]);
    http_statuses      := array_fill(NULL::smallint, ARRAY[request_count]);
    answers            := array_fill(NULL::text, ARRAY[request_count]);
    stored_prints      := fingerprints;
    transaction_ids    := array_fill(NULL::uuid, ARRAY[request_count]);
    sender_sequences   := array_fill(NULL::bigint, ARRAY[request_count]);
    item_outcomes      := array_fill(NULL::ledger.outcome, ARRAY[item_count]);
    request_of         := array_fill(NULL::integer, ARRAY[item_count]);
    recorded_ids       := array_fill(NULL::uuid, ARRAY[item_count]);
    receiver_users     := recorded_ids;
    sent_sequences     := array_fill(NULL::bigint, ARRAY[item_count]);
    receiver_sequences := sent_sequences;
    sent_versions      := sent_sequences;
    sent_balances      := sent_sequences;
    received_versions  := sent_sequences;
    received_balances  := sent_sequences;

    IF emails IS NOT NULL THEN
        SELECT array_agg(a.id ORDER BY i.n) INTO named
        FROM unnest(emails) WITH ORDINALITY AS i (email, n)
        LEFT JOIN identity.users u ON u.email = i.email
        LEFT JOIN ledger.accounts a ON a.user_id = u.id;
    END IF;

    -- A system account is nobody's sender or receiver here, so it is not even locked.
    SELECT array_agg(a.id), array_agg(a.user_id), array_agg(a.balance), array_agg(a.held),
           array_agg(a.version), array_agg(a.sequence), array_agg(a.currency),
           array_agg(a.status = 'frozen'), array_agg(a.public_id),
           array_agg(a.id) FILTER (WHERE a.subscribed)
    INTO account_ids, users, balances, helds, versions, sequences, currency_of, frozen, public_ids,
         subscribed
    FROM (
        SELECT * FROM ledger.accounts l
        WHERE l.id = ANY (accounts || named) AND l.user_id IS NOT NULL
        ORDER BY l.id
        FOR NO KEY UPDATE
    ) a;
    now   := clock_timestamp();
    stamp := to_char(now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

    -- Mostly the places are those that were given. Where one is missing or came by e-mail, they are
    -- looked up.
    IF named IS NOT NULL OR account_ids IS DISTINCT FROM accounts THEN
        SELECT array_agg(l.at ORDER BY i.n) INTO sender_at
        FROM unnest(senders) WITH ORDINALITY AS i (at, n)
        LEFT JOIN unnest(account_ids) WITH ORDINALITY AS l (id, at) ON l.id = accounts[i.at];
        SELECT array_agg(l.at ORDER BY i.n) INTO receiver_at
        FROM unnest(receivers) WITH ORDINALITY AS i (at, n)
        LEFT JOIN unnest(account_ids) WITH ORDINALITY AS l (id, at)
            ON l.id = COALESCE(accounts[i.at], named[i.n]);
    END IF;

    -- Keys that were answered before. OFFSET 0 keeps it one index probe per request, whatever the
    -- statistics of the day say.
    FOR stored IN
        SELECT i.n, k.http_status, k.answer, k.fingerprint, k.transaction_id,
               k.fingerprint = i.fingerprint AS same
        FROM unnest(sender_at, keys, fingerprints) WITH ORDINALITY AS i (at, key, fingerprint, n)
        CROSS JOIN LATERAL (
            SELECT * FROM ledger.idempotency_keys p
            WHERE p.principal_id = users[i.at] AND p.key = i.key OFFSET 0
        ) k
    LOOP
        outcomes[stored.n] := CASE WHEN stored.same THEN 'duplicate'
                                  ELSE 'idempotency_key_reuse' END::ledger.outcome;
        http_statuses[stored.n] := stored.http_status;
        answers[stored.n] := stored.answer;
        stored_prints[stored.n] := stored.fingerprint;
        transaction_ids[stored.n] := stored.transaction_id;
    END LOOP;

    FOR q IN 1 .. request_count LOOP
        first := last + 1;
        last  := last + sizes[q];
        CONTINUE WHEN outcomes[q] IS NOT NULL;
        s := sender_at[q];
        IF s IS NULL THEN
            RAISE EXCEPTION 'sender % is no user account', accounts[senders[q]];
        END IF;
        bulk   := modes[q] <> 'one';
        atomic := modes[q] = 'atomic';
        first_items[q]  := first;
        version_before  := versions[s];
        sequence_before := sequences[s];
        IF bulk THEN
            refused := 0;
            parts   := array_fill(NULL::text, ARRAY[sizes[q]]);
        END IF;

        FOR i IN first .. last LOOP
            request_of[i] := q;
            r := receiver_at[i];
            IF frozen[s] THEN
                outcome := 'account_frozen';
            ELSIF s = r THEN
                outcome := 'same_account';
            ELSIF r IS NULL THEN
                outcome := 'receiver_not_found';
            ELSIF frozen[r] THEN
                outcome := 'receiver_unavailable';
            ELSIF currency_of[s] <> currency_of[r]
                  OR COALESCE(currencies[i], currency_of[s]) <> currency_of[s] THEN
                outcome := 'currency_mismatch';
            ELSIF balances[s] - helds[s] < amounts[i] THEN
                outcome := 'insufficient_funds';
                IF NOT atomic THEN
                    sequences[s] := sequences[s] + 1;
                    recorded_ids[i]   := ids[i];
                    sent_sequences[i] := sequences[s];
                    sent_versions[i]  := versions[s];
                    sent_balances[i]  := balances[s];
                END IF;
            ELSIF balances[r] > 9007199254740991 - amounts[i] THEN
                outcome := 'balance_limit';
            ELSE
                outcome := 'completed';
                balances[s]  := balances[s] - amounts[i];
                versions[s]  := versions[s] + 1;
                sequences[s] := sequences[s] + 1;
                balances[r]  := balances[r] + amounts[i];
                versions[r]  := versions[r] + 1;
                sequences[r] := sequences[r] + 1;
                recorded_ids[i]   := ids[i];
                sent_sequences[i] := sequences[s];
                sent_versions[i]      := versions[s];
                sent_balances[i]      := balances[s];
                received_versions[i]  := versions[r];
                received_balances[i]  := balances[r];
                receiver_users[i]     := users[r];
                receiver_sequences[i] := sequences[r];
            END IF;
            item_outcomes[i] := outcome;

            IF NOT bulk THEN
                outcomes[q] := outcome;
                transaction_ids[q] := recorded_ids[i];
                IF outcome = 'completed' THEN
                    http_statuses[q] := 201;
                    answers[q] := format(replies[i], currency_of[s], public_ids[r], balances[s],
                                         stamp);
                ELSE
                    http_statuses[q] := ledger.http_status(outcome);
                    answers[q] := format(refusals[array_position(places, outcome)],
                                         request_ids[q], ledger.type_id('txn', recorded_ids[i]));
                END IF;
            ELSIF outcome = 'completed' THEN
                parts[i - first + 1] := format(replies[i], currency_of[s], public_ids[r],
                                               balances[s], stamp);
            ELSIF NOT atomic THEN
                refused := refused + (recorded_ids[i] IS NULL)::integer;
                parts[i - first + 1] := format(
                    '{"index":%s,"status":"failed","transaction":null,"error":%s}', i - first,
                    format(refusals[cardinality(places) + array_position(places, outcome)],
                           request_ids[q], i - first,
                           ',"transaction_id":"' || ledger.type_id('txn', recorded_ids[i]) || '"'));
            ELSE
                -- All is taken back, in reverse; whoever came before this request keeps theirs.
                FOR undone IN REVERSE i - 1 .. first LOOP
                    r := receiver_at[undone];
                    balances[s]  := balances[s] + amounts[undone];
                    versions[s]  := versions[s] - 1;
                    sequences[s] := sequences[s] - 1;
                    balances[r]  := balances[r] - amounts[undone];
                    versions[r]  := versions[r] - 1;
                    sequences[r] := sequences[r] - 1;
                    item_outcomes[undone]      := NULL;
                    recorded_ids[undone]       := NULL;
                    receiver_users[undone]     := NULL;
                    receiver_sequences[undone] := NULL;
                END LOOP;
                refused          := 1;
                outcomes[q]      := outcome;
                http_statuses[q] := ledger.http_status(outcome);
                answers[q] := format(
                    refusals[cardinality(places) + array_position(places, outcome)],
                    request_ids[q], i - first, ',"transaction_id":null');
                EXIT;
            END IF;
        END LOOP;

        IF sequences[s] <> sequence_before THEN
            sender_sequences[q] := sequences[s];
        END IF;
        CONTINUE WHEN NOT bulk;
        IF outcomes[q] IS NULL THEN
            outcomes[q]      := 'completed';
            http_statuses[q] := CASE WHEN atomic THEN 201 ELSE 200 END;
            answers[q] := '{"object":"batch","data":[' || array_to_string(parts, ',') || ']}';
        END IF;
        INSERT INTO ledger.bulks (principal_id, created_at, version_from, version_to,
                                  sequence_from, sequence_to, items, refused, mode, key)
        VALUES (users[s], now, version_before + 1, versions[s] + 1, sequence_before + 1,
                sequences[s] + 1, sizes[q], refused, modes[q], keys[q]);
    END LOOP;

    -- One set-based statement per table from here on.
    UPDATE ledger.accounts a
    SET balance = u.balance, version = u.version, sequence = u.sequence
    FROM unnest(account_ids, balances, versions, sequences) AS u (id, balance, version, sequence)
    WHERE a.id = u.id AND a.id = ANY (account_ids) AND a.sequence <> u.sequence;

    INSERT INTO ledger.transactions (id, sender_id, receiver_id, amount, created_at,
                                     sender_version, receiver_version, failure_sequence,
                                     type, status, currency, failure_code, description, metadata)
    SELECT i.id, account_ids[sender_at[i.q]], account_ids[i.receiver_at], i.amount, now,
           CASE i.outcome WHEN 'completed' THEN i.sent_version END, i.received_version,
           CASE i.outcome WHEN 'completed' THEN NULL ELSE i.sent_sequence END, 'transfer',
           CASE i.outcome WHEN 'completed' THEN 'completed' ELSE 'failed' END,
           currency_of[sender_at[i.q]],
           CASE i.outcome WHEN 'completed' THEN NULL ELSE i.outcome::text END,
           i.description, i.metadata::json
    FROM unnest(recorded_ids, request_of, receiver_at, amounts, item_outcomes, descriptions,
                metadata, sent_versions, received_versions, sent_sequences)
             AS i (id, q, receiver_at, amount, outcome, description,
                   metadata, sent_version, received_version, sent_sequence)
    WHERE i.id IS NOT NULL;

    INSERT INTO ledger.entries (account_id, transaction_id, version, sequence, amount,
                                balance_after, created_at)
    SELECT account_ids[side.at], i.id, side.version, side.sequence, side.amount, side.balance, now
    FROM unnest(recorded_ids, request_of, receiver_at, amounts, item_outcomes, sent_versions,
                received_versions, sent_sequences, receiver_sequences, sent_balances,
                received_balances)
             AS i (id, q, receiver_at, amount, outcome, sent_version, received_version,
                   sent_sequence, receiver_sequence, sent_balance, received_balance)
    CROSS JOIN LATERAL (VALUES
        (sender_at[i.q], i.sent_version, i.sent_sequence, -i.amount, i.sent_balance),
        (i.receiver_at, i.received_version, i.receiver_sequence, i.amount, i.received_balance)
    ) AS side (at, version, sequence, amount, balance)
    WHERE i.outcome = 'completed';

    IF 'insufficient_funds' = ANY (item_outcomes) THEN
        INSERT INTO ledger.failures (account_id, transaction_id, sequence, version, balance_after,
                                     created_at)
        SELECT account_ids[sender_at[i.q]], i.id, i.sequence, i.version, i.balance, now
        FROM unnest(recorded_ids, request_of, sent_sequences, sent_versions, sent_balances,
                    item_outcomes) AS i (id, q, sequence, version, balance, outcome)
        WHERE i.outcome = 'insufficient_funds' AND i.id IS NOT NULL;
    END IF;

    INSERT INTO ledger.idempotency_keys (principal_id, transaction_id, created_at, http_status,
                                         key, fingerprint, answer)
    SELECT users[i.at], i.id, now, i.http_status, i.key, i.fingerprint, i.answer
    FROM unnest(sender_at, transaction_ids, http_statuses, keys, fingerprints, answers, outcomes)
             AS i (at, id, http_status, key, fingerprint, answer, outcome)
    WHERE i.outcome > 'duplicate';

    INSERT INTO outbox.events (account_id, sequence, transaction_id, actor_id, created_at, type,
                               request_id, idempotency_key)
    SELECT account_ids[side.at], side.sequence, i.id, side.actor, now,
           CASE i.outcome WHEN 'completed' THEN 'transaction.completed'
                          ELSE 'transaction.failed' END,
           side.request_id, side.key
    FROM unnest(recorded_ids, request_of, receiver_at, sent_sequences, receiver_sequences,
                item_outcomes)
             AS i (id, q, receiver_at, sent_sequence, receiver_sequence, outcome)
    CROSS JOIN LATERAL (VALUES
        (sender_at[i.q], i.sent_sequence, users[sender_at[i.q]], request_ids[i.q], keys[i.q]),
        (i.receiver_at, i.receiver_sequence, NULL, NULL, NULL)
    ) AS side (at, sequence, actor, request_id, key)
    WHERE i.id IS NOT NULL AND side.sequence IS NOT NULL;

    queued := 0;
    IF subscribed IS NOT NULL THEN
        SELECT webhooks.enqueue(
            array_agg(account_ids[side.at]), array_agg(side.sequence),
            array_agg(CASE i.outcome WHEN 'completed' THEN 'transaction.completed'
                                     ELSE 'transaction.failed' END))
        INTO queued
        FROM unnest(recorded_ids, request_of, receiver_at, sent_sequences, receiver_sequences,
                    item_outcomes)
                 AS i (id, q, receiver_at, sent_sequence, receiver_sequence, outcome)
        CROSS JOIN LATERAL (VALUES (sender_at[i.q], i.sent_sequence),
                                   (i.receiver_at, i.receiver_sequence)) AS side (at, sequence)
        WHERE i.id IS NOT NULL AND account_ids[side.at] = ANY (subscribed)
          AND side.sequence IS NOT NULL;
    END IF;

    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address, detail)
    SELECT now, users[sender_at[i.q]], i.id,
           CASE WHEN i.outcome = 'completed' THEN 'transaction.completed'
                WHEN i.id IS NOT NULL THEN 'transaction.failed'
                ELSE 'transaction.refused' END,
           request_ids[i.q], addresses[i.q],
           CASE WHEN i.id IS NOT NULL THEN NULL
                WHEN modes[i.q] = 'one' THEN json_build_object('code', i.outcome)
                ELSE json_build_object('code', i.outcome, 'index', i.n - first_items[i.q]) END
    FROM unnest(recorded_ids, request_of, item_outcomes) WITH ORDINALITY AS i (id, q, outcome, n)
    WHERE i.outcome IS NOT NULL;

    -- A duplicate may be our own first try, whose answer was lost: tell how far the sender is.
    FOR q IN 1 .. request_count LOOP
        IF outcomes[q] <= 'duplicate' THEN
            sender_sequences[q] := sequences[sender_at[q]];
        END IF;
    END LOOP;
END
$$;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
