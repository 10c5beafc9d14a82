-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What became of a commit batch, in the order of the input.
CREATE TYPE ledger.posting_results AS (
    -- Per request.
    outcomes            ledger.outcome[],  -- of a transfer batch: as in ledger.decisions
    http_statuses       smallint[],
    answers             text[],
    stored_fingerprints bytea[],    -- the fingerprint that the key belongs to
    transaction_ids     uuid[],     -- the key's; null: none was recorded, or a transfer batch
    sender_sequences    bigint[],   -- the sender's last; null: nothing changed
    -- Per item.
    item_outcomes       ledger.outcome[],  -- null: not tried, or reverted
    receiver_users      uuid[],     -- these two: null where the item was not completed
    receiver_sequences  bigint[],
    queued              integer     -- the number of webhook deliveries that were added
);

-- Posts a commit batch in one transaction and returns one outcome per request, in input order. A
-- request is one transfer, a transfer batch under one key, or an operation: it makes, captures or
-- voids a hold, refunds a transaction, makes or cancels a withdrawal, pays a payment request. A
-- refused request changes nothing for its neighbours. Raises 22023 for arguments that
-- ledger.argument_error refuses, before a row is touched.
--
-- Locks: the accounts of the batch in id order, nothing else. A hold, a transaction, a withdrawal
-- and a payment request change only under the locks of their accounts. A user's keys need none, as
-- every request of a user locks that user's account first: a holder of the lock sees every key
-- committed before. Two requests of one batch never share a key: the batcher splits them, and
-- otherwise the primary key of idempotency_keys refuses the batch.
--
-- The templates come from the caller, and with them the body that is stored with the caller's own
-- key. Everything else that is written is decided here.
CREATE FUNCTION ledger.post_batch(
    accounts     uuid[],     -- the ids of all senders and receivers, each once, in id order
    -- Per request.
    senders      integer[],  -- the position in accounts of who acts
    keys         text[],
    fingerprints bytea[],
    request_ids  text[],
    addresses    text[],
    modes        text[],     -- transfer, independent or atomic (transfer batches), hold, capture,
                             -- void, refund, withdrawal, cancel, pay
    sizes        integer[],  -- the number of its items
    -- Null instead of an array where no request uses it.
    targets      uuid[],     -- what is captured, voided, refunded, canceled or paid
    expiries     integer[],  -- seconds until a hold expires
    finals       boolean[],  -- whether a capture releases the rest; null: it does
    if_versions  bigint[],   -- preconditions
    if_balances  bigint[],
    -- Per item, those of one request next to each other.
    ids          uuid[],     -- of the transaction, hold or withdrawal that it makes
    receivers    integer[],  -- the receiver's position in accounts; null: see emails
    emails       text[],     -- null instead of an array where no item names an e-mail
    amounts      bigint[],   -- null: all that is left of the target
    currencies   text[],     -- null: the sender's; the array too if no item has one
    descriptions text[],     -- as currencies
    metadata     text[],     -- of a withdrawal the destination
    replies      text[],     -- the answer to a completed item, a template: see compose_answers
    refusals     text[],     -- two templates per outcome: for a transfer, for an item of a batch;
                             -- then three of payments of requests: see compose_answers
    public_url   text,       -- where payment requests are shown; null: nowhere
    -- Null but for runs of schedules.
    principals    uuid[],    -- per request: whose key it is; null: the sender's user
    origin_type   ledger.transaction_origin,
    origins       uuid[],    -- per item: what it comes of
    planned_times timestamptz[]
) RETURNS ledger.posting_results
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan  -- planning was half the cost of a small batch
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
SET enable_bitmapscan = off  -- index scans read the accounts in the order of their ids, unsorted
AS $$
DECLARE
    error CONSTANT text := ledger.argument_error(
        accounts, senders, keys, fingerprints, request_ids, addresses, modes, sizes,
        targets, expiries, finals, if_versions, if_balances, ids, receivers,
        emails, amounts, currencies, descriptions, metadata, replies, refusals, public_url);
    has_operations CONSTANT boolean := NOT modes <@ ARRAY['transfer', 'independent', 'atomic'];
    has_targets    boolean;
    moment timestamptz;
    today  date;  -- the day of the moment in UTC
    -- The locked accounts, in id order.
    account_ids    uuid[];
    users          uuid[];
    balances       bigint[];
    held_amounts   bigint[];
    former_helds   bigint[];  -- when the accounts were locked
    versions       bigint[];
    sequences      bigint[];
    own_currencies text[];
    frozen         boolean[];
    refused        ledger.outcome[];  -- why their owners may not move money; null: they may
    public_ids     text[];
    limit_singles  bigint[];
    limit_dailies  bigint[];
    sents          bigint[];  -- of today
    sent_days      date[];
    pending_limits text[];
    subscribed     uuid[];  -- the ids of those with an enabled webhook endpoint; null: none
    -- Positions among them, per request and per item.
    sender_positions   integer[] := senders;
    receiver_positions integer[] := receivers;
    email_account_ids  uuid[];  -- per item: the account of its e-mail
    counterparty_ids   uuid[];  -- per request: the account of its target's other party
    -- Per request: what is stored with its key; null where the key is new.
    stored_outcomes        ledger.outcome[];
    stored_statuses        smallint[];
    stored_bodies          text[];
    stored_transaction_ids uuid[];
    stored_fingerprints    bytea[];  -- the request's own where the key is new
    loaded                 record;
    found_targets          ledger.operation_target[];
    target_positions       integer[];  -- see ledger.load_targets
    decided  ledger.decisions;
    answered ledger.answers;
    queued   integer := 0;
BEGIN
    -- Step 1: check the arguments.
    IF error IS NOT NULL THEN
        RAISE EXCEPTION '%', error USING ERRCODE = 'invalid_parameter_value';
    END IF;
    has_targets := array_remove(targets, NULL) <> '{}';

    -- Step 2: lock the accounts, the other parties of targets among them. A system account is no
    -- party here, so it is not even locked.
    IF emails IS NOT NULL THEN
        SELECT array_agg(a.id ORDER BY i.n) INTO email_account_ids
        FROM unnest(emails) WITH ORDINALITY AS i (email, n)
        LEFT JOIN identity.users u
            ON u.email = i.email AND identity.can_be_found(u.email_verified_at)
        LEFT JOIN ledger.accounts a ON a.user_id = u.id;
    END IF;
    IF has_targets THEN
        counterparty_ids := ledger.counterparties_of(accounts, senders, modes, targets);
    END IF;
    SELECT array_agg(a.id), array_agg(a.user_id), array_agg(a.balance), array_agg(a.held::bigint),
           array_agg(a.version), array_agg(a.sequence), array_agg(a.currency::text),
           array_agg(a.status <> 'active'),
           array_agg(ledger.owner_refusal(a.status, a.email_verified)),
           array_agg(a.public_id), array_agg(a.limit_single),
           array_agg(a.limit_daily), array_agg(a.sent_today), array_agg(a.sent_on),
           array_agg(a.id) FILTER (WHERE a.subscribed)
    INTO account_ids, users, balances, held_amounts, versions, sequences, own_currencies, frozen,
         refused, public_ids, limit_singles, limit_dailies, sents, sent_days, subscribed
    FROM (
        SELECT * FROM ledger.accounts l
        WHERE l.id = ANY (accounts || email_account_ids || counterparty_ids)
          AND l.user_id IS NOT NULL
          -- A closed one receives nothing: it is as one that is not there.
          AND (l.status <> 'closed' OR l.id = ANY (counterparty_ids)
               OR array_position(accounts, l.id) = ANY (senders))
        ORDER BY l.id
        FOR NO KEY UPDATE
    ) a;
    former_helds := held_amounts;
    moment := clock_timestamp();  -- after the locks, so that times rise with sequences
    today := (moment AT TIME ZONE 'UTC')::date;
    IF (today = ALL (sent_days)) IS NOT TRUE THEN
        SELECT array_agg(CASE l.day WHEN today THEN l.sent ELSE 0 END ORDER BY l.n) INTO sents
        FROM unnest(sents, sent_days) WITH ORDINALITY AS l (sent, day, n);
    END IF;
    IF array_to_string(limit_singles || limit_dailies, '') <> '' THEN
        SELECT l.* INTO limit_singles, limit_dailies, pending_limits
        FROM ledger.effective_limits(account_ids, limit_singles, limit_dailies, moment) l;
    END IF;
    -- Mostly the positions are those of the input. Where an account is missing, or was found by its
    -- e-mail, they are looked up.
    IF email_account_ids IS NOT NULL OR account_ids IS DISTINCT FROM accounts THEN
        SELECT array_agg(ledger.position_of(accounts[q.position], account_ids))
        INTO sender_positions
        FROM unnest(senders) AS q (position);
        IF array_remove(receivers, NULL) <> '{}' OR email_account_ids IS NOT NULL THEN
            SELECT array_agg(ledger.position_of(
                COALESCE(accounts[i.position], email_account_ids[i.n]), account_ids) ORDER BY i.n)
            INTO receiver_positions
            FROM unnest(receivers) WITH ORDINALITY AS i (position, n);
        END IF;
        IF array_position(sender_positions, NULL) IS NOT NULL THEN
            RAISE EXCEPTION 'sender % is not a user account',
                accounts[senders[array_position(sender_positions, NULL)]]
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END IF;

    -- Step 3: find the keys that were answered before. OFFSET 0 keeps it one index probe per
    -- request, whatever the statistics of the day say.
    SELECT array_agg(CASE WHEN k.fingerprint = q.fingerprint THEN 'duplicate'::ledger.outcome
                          WHEN k.key IS NOT NULL THEN 'idempotency_key_reuse' END),
           array_agg(k.http_status), array_agg(k.answer),
           array_agg(COALESCE(k.fingerprint, q.fingerprint)), array_agg(k.transaction_id)
    INTO stored_outcomes, stored_statuses, stored_bodies, stored_fingerprints,
         stored_transaction_ids
    FROM unnest(sender_positions, keys, fingerprints, principals)
             AS q (sender, key, fingerprint, principal)
    LEFT JOIN LATERAL (
        SELECT * FROM ledger.idempotency_keys p
        WHERE p.principal_id = COALESCE(q.principal, users[q.sender]) AND p.key = q.key OFFSET 0
    ) k ON true;

    -- Step 4: read what the operations are about, and release the expired holds of senders who are
    -- short of money.
    IF has_targets THEN
        loaded := ledger.load_targets(
            account_ids, counterparty_ids, sender_positions, modes, targets, moment);
        found_targets    := loaded.targets;
        target_positions := loaded.positions;
    END IF;
    IF 0 < ANY (held_amounts) AND NOT modes <@ ARRAY['capture', 'void', 'cancel'] THEN
        SELECT l.* INTO held_amounts, sents, sequences, queued
        FROM ledger.release_expired(
            account_ids, balances, held_amounts, sents, sequences, sender_positions, modes, sizes,
            found_targets, amounts, subscribed, moment) l;
    END IF;

    -- Step 5: decide, and compose the answers. A template may pad a value to any length.
    decided := ledger.decide_batch(
        users, balances, held_amounts, versions, sequences, own_currencies, frozen, refused,
        limit_singles, limit_dailies, sents, pending_limits,
        to_char(today + 1, 'YYYY-MM-DD"T00:00:00.000000Z"'),
        sender_positions, modes, sizes, stored_outcomes, found_targets, target_positions, finals,
        if_versions, if_balances, ids, receiver_positions, amounts, currencies);
    answered := ledger.compose_answers(
        decided, own_currencies, public_ids, sender_positions, modes, sizes, request_ids,
        found_targets, expiries,
        stored_bodies, stored_statuses, stored_transaction_ids, ids, replies, refusals, moment);
    IF pg_column_size(answered.bodies) > 67108864 THEN
        RAISE EXCEPTION 'the answers are too long' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    -- Step 6: write, with one set-based statement per table.
    UPDATE ledger.accounts a
    SET balance = u.balance, held = u.held, version = u.version, sequence = u.sequence,
        sent_today = u.sent, sent_on = today
    FROM unnest(account_ids, decided.balances, decided.helds, decided.versions, decided.sequences,
                decided.sents) AS u (id, balance, held, version, sequence, sent)
    WHERE a.id = u.id AND a.id = ANY (account_ids) AND a.sequence <> u.sequence;
    -- What a capture releases stands in its entry, but what changes later needs a row.
    IF former_helds IS DISTINCT FROM held_amounts
       OR modes && ARRAY['hold', 'void', 'withdrawal', 'cancel'] THEN
        PERFORM ledger.record_held(
            account_ids, ledger.superseded_helds(former_helds, decided.items, decided.helds),
            decided.helds, decided.sequences, moment);
    END IF;

    INSERT INTO ledger.transactions (id, sender_id, receiver_id, amount, created_at,
                                     sender_version, receiver_version, failure_sequence,
                                     origin_id, scheduled_for, origin_type,
                                     type, status, currency, failure_code, description, metadata)
    SELECT i.id, account_ids[i.sender], account_ids[i.receiver], i.amount, moment,
           CASE i.outcome WHEN 'completed' THEN i.sent_version END, i.received_version,
           CASE i.outcome WHEN 'completed' THEN NULL ELSE i.sent_sequence END,
           COALESCE(i.origin_id, targets[i.request]), i.planned_time,
           CASE modes[i.request] WHEN 'capture' THEN 'hold' WHEN 'pay' THEN 'payment_request'
                                 WHEN 'refund' THEN 'transaction' ELSE origin_type END,
           CASE modes[i.request] WHEN 'refund' THEN 'refund'::ledger.transaction_type
                                 ELSE 'transfer' END,
           CASE i.outcome WHEN 'completed' THEN 'completed'::ledger.transaction_status
                          ELSE 'failed' END,
           own_currencies[i.sender],
           CASE i.outcome WHEN 'completed' THEN NULL ELSE i.outcome::text END,
           CASE WHEN modes[i.request] IN ('capture', 'pay')
                THEN found_targets[i.request].description ELSE i.description END,
           CASE WHEN modes[i.request] IN ('capture', 'pay')
                THEN found_targets[i.request].metadata ELSE i.metadata END::json
    FROM unnest(descriptions, metadata, origins, planned_times, decided.items)
             AS i (description, metadata, origin_id, planned_time, id, amount, outcome, request,
                   index, sender, receiver, sent_sequence, sent_version, sent_balance, sent_held,
                   received_sequence, received_version, received_balance, received_held)
    WHERE i.sent_sequence IS NOT NULL;

    INSERT INTO ledger.entries (account_id, transaction_id, version, sequence, amount,
                                balance_after, held_after, created_at)
    SELECT account_ids[side.account], i.id, side.version, side.sequence, side.amount, side.balance,
           NULLIF(side.held, 0), moment
    FROM unnest(decided.items) AS i
    CROSS JOIN LATERAL (VALUES
        (i.sender, i.sent_version, i.sent_sequence, -i.amount, i.sent_balance, i.sent_held),
        (i.receiver, i.received_version, i.received_sequence, i.amount, i.received_balance,
         i.received_held)
    ) AS side (account, version, sequence, amount, balance, held)
    WHERE i.received_sequence IS NOT NULL;

    IF 'insufficient_funds' = ANY (decided.item_outcomes) THEN
        INSERT INTO ledger.failed_transactions (account_id, transaction_id, sequence, version,
                                                balance_after, held_after, created_at)
        SELECT account_ids[i.sender], i.id, i.sent_sequence, i.sent_version, i.sent_balance,
               NULLIF(i.sent_held, 0), moment
        FROM unnest(decided.items) AS i
        WHERE i.sent_sequence IS NOT NULL AND i.received_sequence IS NULL;
    END IF;

    INSERT INTO ledger.idempotency_keys (principal_id, transaction_id, created_at, http_status,
                                         key, fingerprint, answer)
    SELECT COALESCE(q.principal, users[q.sender]), q.transaction_id, moment,
           q.http_status, q.key, q.fingerprint, q.body
    FROM unnest(sender_positions, keys, fingerprints, decided.outcomes, answered.bodies,
                answered.http_statuses, answered.transaction_ids, principals)
             AS q (sender, key, fingerprint, outcome, body, http_status, transaction_id, principal)
    WHERE q.outcome > 'duplicate';

    IF modes && ARRAY['independent', 'atomic'] THEN
        INSERT INTO ledger.transfer_batches (
            principal_id, created_at, version_from, version_to, sequence_from, sequence_to,
            items, refused, mode, key
        )
        SELECT users[q.sender], moment, q.version_from, q.version_to, q.sequence_from,
               q.sequence_to, q.size,
               CASE q.outcome WHEN 'completed' THEN q.size - (q.sequence_to - q.sequence_from)
                              ELSE 1 END, q.mode, q.key
        FROM unnest(sender_positions, modes, sizes, keys, decided.outcomes, decided.ranges)
                 AS q (sender, mode, size, key, outcome, version_from, version_to, sequence_from,
                       sequence_to)
        WHERE q.version_from IS NOT NULL;
    END IF;

    INSERT INTO outbox.events (account_id, sequence, transaction_id, actor_id, created_at, type,
                               request_id, idempotency_key)
    SELECT account_ids[side.account], side.sequence, i.id,
           CASE side.account WHEN i.caller THEN users[side.account] END, moment,
           CASE i.outcome WHEN 'completed' THEN 'transaction.completed'
                          ELSE 'transaction.failed' END,
           -- The run of a schedule is no request of its owner.
           CASE WHEN side.account = i.caller AND principals[i.request] IS NULL
                THEN request_ids[i.request] END,
           CASE WHEN side.account = i.caller AND principals[i.request] IS NULL
                THEN keys[i.request] END
    FROM (SELECT *, sender_positions[request] AS caller FROM unnest(decided.items)) AS i
    CROSS JOIN LATERAL (VALUES
        (i.sender, i.sent_sequence), (i.receiver, i.received_sequence)
    ) AS side (account, sequence)
    WHERE side.sequence IS NOT NULL;

    IF subscribed IS NOT NULL THEN
        SELECT queued + webhooks.enqueue(
            array_agg(account_ids[side.account]), array_agg(side.sequence),
            array_agg(CASE i.outcome WHEN 'completed' THEN 'transaction.completed'
                                     ELSE 'transaction.failed' END))
        INTO queued
        FROM unnest(decided.items) AS i
        CROSS JOIN LATERAL (VALUES (i.sender, i.sent_sequence),
                                   (i.receiver, i.received_sequence)) AS side (account, sequence)
        WHERE side.sequence IS NOT NULL AND account_ids[side.account] = ANY (subscribed);
    END IF;

    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address, detail)
    SELECT moment, users[sender_positions[i.request]],
           CASE WHEN i.sent_sequence IS NOT NULL THEN i.id
                WHEN i.outcome = 'completed' THEN COALESCE(targets[i.request], i.id) END,
           CASE WHEN i.sent_sequence IS NULL
                THEN CASE WHEN i.outcome = 'completed'
                              THEN ledger.operation_event(modes[i.request])
                          WHEN modes[i.request] = 'pay' AND i.outcome IN (
                              'not_found', 'forbidden', 'request_not_open')
                              THEN 'payment_request.refused'
                          ELSE 'transaction.refused' END
                WHEN i.outcome = 'completed' THEN 'transaction.completed'
                ELSE 'transaction.failed' END,
           request_ids[i.request], addresses[i.request],
           CASE WHEN i.sent_sequence IS NOT NULL OR i.outcome = 'completed' THEN NULL
                WHEN modes[i.request] IN ('transfer', 'pay')
                    THEN json_build_object('code', i.outcome)
                WHEN modes[i.request] IN ('independent', 'atomic')
                    THEN json_build_object('code', i.outcome, 'index', i.index)
                ELSE json_build_object('code', i.outcome, 'operation', modes[i.request]) END
    FROM unnest(decided.items) AS i
    WHERE i.outcome IS NOT NULL;

    IF has_operations THEN
        queued := queued + ledger.write_operations(
            decided.operations, account_ids, users, own_currencies, sender_positions, modes, keys,
            request_ids, addresses, expiries, ids, descriptions, metadata, public_url, subscribed,
            moment);
    END IF;

    RETURN ROW(decided.outcomes, answered.http_statuses, answered.bodies, stored_fingerprints,
               answered.transaction_ids, decided.sender_sequences, decided.item_outcomes,
               decided.receiver_users, decided.receiver_sequences, queued);
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
