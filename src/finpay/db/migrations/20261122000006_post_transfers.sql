-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What can become of a transfer, in order of precedence: a request that is wrong in two ways gets
-- the first. finpay.ledger.outcome has the same list; a test compares them.
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

-- The HTTP status that a refusal is stored and answered with.
CREATE FUNCTION ledger.http_status(outcome ledger.outcome) RETURNS smallint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE outcome
        WHEN 'completed' THEN 201
        WHEN 'insufficient_funds' THEN 402
        WHEN 'account_frozen' THEN 403
        WHEN 'receiver_not_found' THEN 404
        ELSE 422
    END::smallint
$$;

-- Posts a batch of transfers in one transaction and answers one outcome per item, in input order.
-- An item that is refused never spoils its neighbours.
--
-- Item i is (ids[i], senders[i], …). `receivers[i]` is an account, or null where `emails[i]` names
-- the user. `currencies[i]` null means the sender's. `replies[i]` is the body of a completed item
-- with four places for format(): currency, receiver, balance after, time. `refusals[n]` is the body
-- of the n-th outcome with two: request id, transaction id. The finished body is stored with the
-- key in this same commit and answered byte for byte from then on.
--
-- Locks: the accounts of the batch in id order, nothing else. A user's keys need no lock of their
-- own, because every request of a user locks that user's account first: whoever holds it sees every
-- key committed before. Two items of one batch never share a key; the batcher sees to that, and the
-- primary key of idempotency_keys refuses the batch if it fails to.
CREATE FUNCTION ledger.post_transfers(
    ids          uuid[],
    senders      uuid[],
    receivers    uuid[],
    emails       text[],    -- null instead of an array where no item names an e-mail
    amounts      bigint[],
    currencies   text[],
    descriptions text[],
    metadata     text[],
    keys         text[],
    fingerprints bytea[],
    request_ids  text[],
    addresses    text[],
    replies      text[],
    refusals     text[],
    OUT outcomes           ledger.outcome[],
    OUT http_statuses      smallint[],
    OUT answers            text[],
    OUT stored_prints      bytea[],   -- the fingerprint that the key belongs to
    OUT transaction_ids    uuid[],    -- the key's; null where nothing was recorded
    OUT sender_sequences   bigint[],  -- the sender's last; null where nothing changed
    OUT receiver_users     uuid[],    -- null where the receiver's account did not change
    OUT receiver_sequences bigint[]
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan  -- planning was half the cost of a small batch
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
    -- Per item: the places of its two sides among them.
    sender_at   integer[];
    receiver_at integer[];
    s integer;
    r integer;
    -- Per item: what its entries will say.
    sent_versions     bigint[];
    sent_balances     bigint[];
    received_versions bigint[];
    received_balances bigint[];
    principals        uuid[];
    stored_ids        uuid[];
    item_count CONSTANT integer := cardinality(ids);
    stored  record;
    outcome ledger.outcome;
    now     timestamptz;
    stamp   text;
BEGIN
    -- Lengths are set once, so that items can be assigned in any order.
    outcomes           := array_fill(NULL::ledger.outcome, ARRAY[item_count]);
    http_statuses      := array_fill(NULL::smallint, ARRAY[item_count]);
    answers            := array_fill(NULL::text, ARRAY[item_count]);
    stored_prints      := fingerprints;
    transaction_ids    := array_fill(NULL::uuid, ARRAY[item_count]);
    sender_sequences   := array_fill(NULL::bigint, ARRAY[item_count]);
    receiver_users     := transaction_ids;
    receiver_sequences := sender_sequences;
    sent_versions      := sender_sequences;
    sent_balances      := sender_sequences;
    received_versions  := sender_sequences;
    received_balances  := sender_sequences;

    IF emails IS NOT NULL THEN
        SELECT array_agg(COALESCE(i.receiver, a.id) ORDER BY i.n) INTO receivers
        FROM unnest(receivers, emails) WITH ORDINALITY AS i (receiver, email, n)
        LEFT JOIN identity.users u ON u.email = i.email
        LEFT JOIN ledger.accounts a ON a.user_id = u.id;
    END IF;

    -- A system account is nobody's sender or receiver here, so it is not even locked.
    SELECT array_agg(a.id), array_agg(a.user_id), array_agg(a.balance), array_agg(a.held),
           array_agg(a.version), array_agg(a.sequence), array_agg(a.currency),
           array_agg(a.status = 'frozen'), array_agg(a.public_id)
    INTO account_ids, users, balances, helds, versions, sequences, currency_of, frozen, public_ids
    FROM (
        SELECT * FROM ledger.accounts l
        WHERE l.id = ANY (senders || receivers) AND l.user_id IS NOT NULL
        ORDER BY l.id
        FOR NO KEY UPDATE
    ) a;
    now   := clock_timestamp();
    stamp := to_char(now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

    SELECT array_agg(sender.at ORDER BY i.n), array_agg(receiver.at ORDER BY i.n),
           array_agg(sender.user_id ORDER BY i.n)
    INTO sender_at, receiver_at, principals
    FROM unnest(senders, receivers) WITH ORDINALITY AS i (sender, receiver, n)
    LEFT JOIN unnest(account_ids, users) WITH ORDINALITY AS sender (id, user_id, at)
        ON sender.id = i.sender
    LEFT JOIN unnest(account_ids) WITH ORDINALITY AS receiver (id, at)
        ON receiver.id = i.receiver;

    -- Keys that were answered before. OFFSET 0 keeps it one index probe per item, whatever the
    -- statistics of the day say.
    FOR stored IN
        SELECT i.n, k.http_status, k.answer, k.fingerprint, k.transaction_id,
               k.fingerprint = i.fingerprint AS same
        FROM unnest(principals, keys, fingerprints) WITH ORDINALITY
                 AS i (principal, key, fingerprint, n)
        CROSS JOIN LATERAL (
            SELECT * FROM ledger.idempotency_keys p
            WHERE p.principal_id = i.principal AND p.key = i.key OFFSET 0
        ) k
    LOOP
        outcomes[stored.n] := CASE WHEN stored.same THEN 'duplicate'
                                  ELSE 'idempotency_key_reuse' END::ledger.outcome;
        http_statuses[stored.n] := stored.http_status;
        answers[stored.n] := stored.answer;
        stored_prints[stored.n] := stored.fingerprint;
        stored_ids[stored.n] := stored.transaction_id;
    END LOOP;

    FOR i IN 1 .. item_count LOOP
        CONTINUE WHEN outcomes[i] IS NOT NULL;
        s := sender_at[i];
        r := receiver_at[i];
        IF s IS NULL THEN
            RAISE EXCEPTION 'sender % is no user account', senders[i];
        ELSIF frozen[s] THEN
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
            sequences[s] := sequences[s] + 1;
            transaction_ids[i]  := ids[i];
            sent_versions[i]    := versions[s];
            sent_balances[i]    := balances[s];
            sender_sequences[i] := sequences[s];
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
            transaction_ids[i]    := ids[i];
            sent_versions[i]      := versions[s];
            sent_balances[i]      := balances[s];
            sender_sequences[i]   := sequences[s];
            received_versions[i]  := versions[r];
            received_balances[i]  := balances[r];
            receiver_users[i]     := users[r];
            receiver_sequences[i] := sequences[r];
        END IF;
        outcomes[i] := outcome;
        IF outcome = 'completed' THEN
            http_statuses[i] := 201;
            answers[i] := format(replies[i], currency_of[s], public_ids[r], balances[s], stamp);
        ELSE
            http_statuses[i] := ledger.http_status(outcome);
            answers[i] := format(
                refusals[array_position(enum_range(NULL::ledger.outcome), outcome)],
                request_ids[i], ledger.type_id('txn', transaction_ids[i]));
        END IF;
    END LOOP;

    -- One set-based statement per table from here on.
    UPDATE ledger.accounts a
    SET balance = u.balance, version = u.version, sequence = u.sequence
    FROM unnest(account_ids, balances, versions, sequences) AS u (id, balance, version, sequence)
    WHERE a.id = u.id AND a.id = ANY (account_ids) AND a.sequence <> u.sequence;

    INSERT INTO ledger.transactions (id, sender_id, receiver_id, amount, created_at,
                                     sender_version, receiver_version, failure_sequence,
                                     type, status, currency, failure_code, description, metadata)
    SELECT i.id, i.sender, i.receiver, i.amount, now,
           CASE i.outcome WHEN 'completed' THEN i.sent_version END, i.received_version,
           CASE i.outcome WHEN 'completed' THEN NULL ELSE i.sender_sequence END, 'transfer',
           CASE i.outcome WHEN 'completed' THEN 'completed' ELSE 'failed' END,
           currency_of[i.sender_at],
           CASE i.outcome WHEN 'completed' THEN NULL ELSE i.outcome::text END,
           i.description, i.metadata::json
    FROM unnest(transaction_ids, senders, receivers, amounts, outcomes, sender_at, descriptions,
                metadata, sent_versions, received_versions, sender_sequences)
             AS i (id, sender, receiver, amount, outcome, sender_at, description,
                   metadata, sent_version, received_version, sender_sequence)
    WHERE i.id IS NOT NULL;

    INSERT INTO ledger.entries (account_id, transaction_id, version, sequence, amount,
                                balance_after, created_at)
    SELECT side.account, i.id, side.version, side.sequence, side.amount, side.balance, now
    FROM unnest(transaction_ids, senders, receivers, amounts, sent_versions, received_versions,
                sender_sequences, receiver_sequences, sent_balances, received_balances)
             AS i (id, sender, receiver, amount, sent_version, received_version,
                   sender_sequence, receiver_sequence, sent_balance, received_balance)
    CROSS JOIN LATERAL (VALUES
        (i.sender, i.sent_version, i.sender_sequence, -i.amount, i.sent_balance),
        (i.receiver, i.received_version, i.receiver_sequence, i.amount, i.received_balance)
    ) AS side (account, version, sequence, amount, balance)
    WHERE i.received_version IS NOT NULL;

    IF 'insufficient_funds' = ANY (outcomes) THEN
        INSERT INTO ledger.failures (account_id, transaction_id, sequence, version, balance_after,
                                     created_at)
        SELECT i.sender, i.id, i.sequence, i.version, i.balance, now
        FROM unnest(transaction_ids, senders, sender_sequences, sent_versions, sent_balances,
                    outcomes) AS i (id, sender, sequence, version, balance, outcome)
        WHERE i.outcome = 'insufficient_funds' AND i.id IS NOT NULL;
    END IF;

    INSERT INTO ledger.idempotency_keys (principal_id, transaction_id, created_at, http_status,
                                         key, fingerprint, answer)
    SELECT i.principal, i.id, now, i.http_status, i.key, i.fingerprint, i.answer
    FROM unnest(principals, transaction_ids, http_statuses, keys, fingerprints, answers, outcomes)
             AS i (principal, id, http_status, key, fingerprint, answer, outcome)
    WHERE i.outcome > 'duplicate';

    INSERT INTO outbox.events (account_id, sequence, transaction_id, actor_id, created_at, type,
                               request_id, idempotency_key)
    SELECT side.account, side.sequence, i.id, side.actor, now,
           CASE i.outcome WHEN 'completed' THEN 'transaction.completed'
                          ELSE 'transaction.failed' END,
           side.request_id, side.key
    FROM unnest(transaction_ids, senders, receivers, principals, sender_sequences,
                receiver_sequences, request_ids, keys, outcomes)
             AS i (id, sender, receiver, principal, sender_sequence, receiver_sequence,
                   request_id, key, outcome)
    CROSS JOIN LATERAL (VALUES
        (i.sender, i.sender_sequence, i.principal, i.request_id, i.key),
        (i.receiver, i.receiver_sequence, NULL, NULL, NULL)
    ) AS side (account, sequence, actor, request_id, key)
    WHERE side.sequence IS NOT NULL;

    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address, detail)
    SELECT now, i.principal, i.id,
           CASE WHEN i.outcome = 'completed' THEN 'transaction.completed'
                WHEN i.id IS NOT NULL THEN 'transaction.failed'
                ELSE 'transaction.refused' END,
           i.request_id, i.address,
           CASE WHEN i.id IS NULL THEN json_build_object('code', i.outcome) END
    FROM unnest(principals, transaction_ids, outcomes, request_ids, addresses)
             AS i (principal, id, outcome, request_id, address)
    WHERE i.outcome > 'duplicate';

    -- A duplicate may be our own first try, whose answer was lost: tell whose transaction it is,
    -- and how far the sender's account is.
    FOR i IN 1 .. item_count LOOP
        IF outcomes[i] <= 'duplicate' THEN
            transaction_ids[i]  := stored_ids[i];
            sender_sequences[i] := sequences[sender_at[i]];
        END IF;
    END LOOP;
END
$$;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
