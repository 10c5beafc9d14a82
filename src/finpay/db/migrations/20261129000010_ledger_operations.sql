-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What ledger.post_transfers writes for operations: holds, captures, voids, refunds, withdrawals
-- and their cancellations, payments of requests. And the expiry of rows of holds whose time has
-- come: of a sender short of money, or for the worker (ledger.expire_holds). Accounts are locked by
-- the caller; arguments are as there.

-- The event of an operation's own object, and the action of one that moves no money.
CREATE FUNCTION ledger.operation_event(mode text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE mode
    WHEN 'hold' THEN 'hold.created'
    WHEN 'capture' THEN 'hold.captured'
    WHEN 'void' THEN 'hold.voided'
    WHEN 'refund' THEN 'transaction.refunded'
    WHEN 'withdrawal' THEN 'withdrawal.created'
    WHEN 'cancel' THEN 'withdrawal.canceled'
    WHEN 'pay' THEN 'payment_request.paid'
END;

-- Rows of holds by their keys, each once.
CREATE TYPE ledger.hold_keys AS (
    account_ids uuid[],
    ids         uuid[]
);

-- The open rows of senders whose time has come, the longest due first, at most so many.
CREATE FUNCTION ledger.due_holds_of(senders uuid[], moment timestamptz, most integer)
RETURNS ledger.hold_keys
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
    SELECT ROW(array_agg(d.account_id), array_agg(d.id))::ledger.hold_keys
    FROM (SELECT h.account_id, h.id
          FROM ledger.hold_expiries x
          CROSS JOIN LATERAL (
              SELECT h.account_id, h.id FROM ledger.holds h
              WHERE h.account_id = x.account_id AND h.id = x.hold_id
                AND h.status = 'open' AND h.account_id = h.sender_id OFFSET 0
          ) h
          WHERE x.expires_at <= moment AND x.account_id = ANY (senders)
          ORDER BY x.expires_at, x.account_id, x.hold_id LIMIT most) d
$$;

-- Expires those of the given rows of holds that are open and whose time has come, of accounts whose
-- rows are locked: each gets its event under the next sequences. Per account: what is released of
-- what it has on hold, what is given back to its limit today, and the number of events.
CREATE FUNCTION ledger.expire_rows(
    account_ids uuid[], sequences bigint[], subscribed uuid[], moment timestamptz,
    keys ledger.hold_keys,
    OUT released bigint[], OUT given_back bigint[], OUT counts bigint[], OUT queued integer
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    today CONSTANT date := (moment AT TIME ZONE 'UTC')::date;
    expired_accounts  uuid[];
    expired_sequences bigint[];
BEGIN
    WITH due AS MATERIALIZED (
        SELECT d.account_id, d.id, row_number() OVER (PARTITION BY d.account_id
                                                      ORDER BY d.expires_at, d.id) AS n
        FROM unnest(keys.account_ids, keys.ids) AS k (account_id, id)
        CROSS JOIN LATERAL (
            SELECT h.account_id, h.id, h.expires_at FROM ledger.holds h
            WHERE h.account_id = k.account_id AND h.id = k.id
              AND h.status = 'open' AND h.expires_at <= moment OFFSET 0
        ) d
    ), expired AS (
        UPDATE ledger.holds h
        SET status = 'expired', closed_at = moment, closed_sequence = a.sequence + d.n
        FROM due d
        JOIN unnest(account_ids, sequences) AS a (id, sequence) ON a.id = d.account_id
        WHERE h.account_id = d.account_id AND h.id = d.id
        RETURNING h.account_id, h.id, h.closed_sequence, h.captured_amount, h.expires_at,
                  h.amount - h.captured_amount AS remaining, h.account_id = h.sender_id AS is_sent,
                  (h.created_at AT TIME ZONE 'UTC')::date = today AS is_of_today
    ), removed AS (
        DELETE FROM ledger.hold_expiries x WHERE x.ctid = ANY (ARRAY(
            SELECT o.ctid
            FROM expired e
            CROSS JOIN LATERAL (
                SELECT o.ctid FROM ledger.hold_expiries o
                WHERE o.expires_at = e.expires_at AND o.account_id = e.account_id
                  AND o.hold_id = e.id OFFSET 0
            ) o))
    ), recorded AS (
        INSERT INTO outbox.events (account_id, sequence, hold_id, created_at, type, data, previous)
        SELECT e.account_id, e.closed_sequence, e.id, moment, 'hold.expired',
               ledger.hold_state('expired', e.captured_amount),
               ('{"status":"open","remaining":' || e.remaining || '}')::json
        FROM expired e
    ), per_account AS (
        SELECT e.account_id, COALESCE(sum(e.remaining) FILTER (WHERE e.is_sent), 0) AS released,
               COALESCE(sum(e.remaining) FILTER (WHERE e.is_sent AND e.is_of_today), 0)
                   AS given_back,
               count(*) AS number
        FROM expired e GROUP BY e.account_id
    )
    SELECT array_agg(COALESCE(p.released, 0)::bigint ORDER BY a.n),
           array_agg(COALESCE(p.given_back, 0)::bigint ORDER BY a.n),
           array_agg(COALESCE(p.number, 0) ORDER BY a.n)
    INTO released, given_back, counts
    FROM unnest(account_ids) WITH ORDINALITY AS a (id, n)
    LEFT JOIN per_account p ON p.account_id = a.id;

    queued := 0;
    IF subscribed IS NOT NULL THEN
        SELECT array_agg(a.id), array_agg(n) INTO expired_accounts, expired_sequences
        FROM unnest(account_ids, sequences, counts) AS a (id, sequence, number)
        CROSS JOIN LATERAL generate_series(a.sequence + 1, a.sequence + a.number) n
        WHERE a.id = ANY (subscribed);
        IF expired_accounts IS NOT NULL THEN
            queued := webhooks.enqueue(
                expired_accounts, expired_sequences,
                array_fill('hold.expired'::text, ARRAY[cardinality(expired_accounts)]));
        END IF;
    END IF;
END
$$;

-- Releases the expired holds of senders who are short of money for this batch, so that no payment
-- is refused for money that is theirs again: their own rows alone. The worker expires the others.
-- Captures, voids and cancellations are skipped: their senders spend nothing.
CREATE FUNCTION ledger.release_expired(
    account_ids uuid[], balances bigint[], INOUT helds bigint[], INOUT sents bigint[],
    INOUT sequences bigint[], senders integer[], modes text[], sizes integer[],
    targets ledger.operation_target[], amounts bigint[], subscribed uuid[], moment timestamptz,
    OUT queued integer
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    max_rows   CONSTANT integer := 10000;  -- far more than are due while a worker runs
    max_wanted CONSTANT bigint := 4611686018427387903;  -- far above every balance
    wanted bigint[] := array_fill(0::bigint, ARRAY[cardinality(account_ids)]);
    short  integer[];
    last   integer := 0;
    sender integer;
    short_ids       uuid[];
    short_sequences bigint[];
    expired         record;
BEGIN
    queued := 0;
    FOR q IN 1 .. cardinality(senders) LOOP
        last := last + sizes[q];
        sender := senders[q];
        CONTINUE WHEN helds[sender] = 0 OR modes[q] IN ('capture', 'void', 'cancel');
        FOR i IN last - sizes[q] + 1 .. last LOOP
            wanted[sender] := LEAST(max_wanted, wanted[sender] + COALESCE(
                amounts[i], targets[q].amount - targets[q].taken, 0));
        END LOOP;
        IF wanted[sender] > balances[sender] - helds[sender]
            AND (sender = ANY (short)) IS NOT TRUE THEN
            short := short || sender;
        END IF;
    END LOOP;
    IF short IS NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(account_ids[s] ORDER BY n), array_agg(sequences[s] ORDER BY n)
    INTO short_ids, short_sequences
    FROM unnest(short) WITH ORDINALITY AS x (s, n);
    expired := ledger.expire_rows(
        short_ids, short_sequences, subscribed, moment,
        ledger.due_holds_of(short_ids, moment, max_rows));
    queued := expired.queued;
    FOR i IN 1 .. cardinality(short) LOOP
        helds[short[i]]     := helds[short[i]] - expired.released[i];
        sents[short[i]]     := GREATEST(sents[short[i]] - expired.given_back[i], 0);
        sequences[short[i]] := sequences[short[i]] + expired.counts[i];
    END LOOP;
END
$$;

-- What an event keeps of a hold: the rest never changes and is read with it.
CREATE FUNCTION ledger.hold_state(status text, captured_amount bigint) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE  -- as text || bigint, or PostgreSQL does not inline it
RETURN ('{"status":"' || status || '","captured_amount":' || captured_amount || '}')::json;

-- A withdrawal as events show it: without its destination.
CREATE FUNCTION ledger.withdrawal_object(w ledger.withdrawals) RETURNS json
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'id', ledger.type_id('wdr', w.id), 'object', 'withdrawal', 'status', w.status,
        'amount', w.amount, 'currency', w.currency, 'destination', '{}'::json,
        'description', w.description, 'reference', w.reference, 'reason', w.reason,
        'transaction_id', ledger.type_id('txn', w.transaction_id),
        'created_at', ledger.format_timestamp(w.created_at))
$$;

-- The members that an operation changed, with their former values; null where it made the object.
-- A refund always has both of its members, as the contract names them.
CREATE FUNCTION ledger.former_members(
    mode text, status text, former_status text, former_taken bigint, former_remaining bigint
) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE  -- as json_build_object, or PostgreSQL does not inline it
RETURN CASE mode
    WHEN 'capture' THEN ('{' || COALESCE('"status":"' || NULLIF(former_status, status) || '",', '')
        || '"captured_amount":' || former_taken || ',"remaining":' || former_remaining || '}')::json
    WHEN 'void' THEN json_build_object('status', former_status, 'remaining', former_remaining)
    WHEN 'refund' THEN json_build_object(
        'status', former_status, 'refunded_amount', former_taken)
    WHEN 'cancel' THEN json_build_object('status', former_status)
    WHEN 'pay' THEN '{"status":"open","transaction_id":null}'::json
END;

-- The withdrawals and payment requests of operations as their events show them; null for others.
CREATE FUNCTION ledger.operation_objects(
    operations ledger.decided_operation[], account_ids uuid[], users uuid[], public_url text
) RETURNS json[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN (
        SELECT array_agg(CASE
            WHEN o.mode = 'pay' THEN (
                SELECT ledger.payment_request_object(r, u.name, public_url)::json
                FROM ledger.payment_requests r, identity.users u
                WHERE r.account_id = account_ids[o.receiver] AND r.id = o.id
                  AND u.id = users[o.receiver])
            WHEN o.mode IN ('withdrawal', 'cancel') THEN (
                SELECT ledger.withdrawal_object(w) FROM ledger.withdrawals w
                WHERE w.account_id = account_ids[o.sender] AND w.id = o.id)
        END)
        FROM unnest(operations) AS o
    );
END
$$;

-- Writes what the operations of a commit batch made and changed, with the events about it. Returns
-- the number of webhook deliveries that were added.
CREATE FUNCTION ledger.write_operations(
    operations ledger.decided_operation[], account_ids uuid[], users uuid[], own_currencies text[],
    senders integer[], modes text[], keys text[], request_ids text[], addresses text[],
    expiries integer[], ids uuid[], descriptions text[], metadata text[], public_url text,
    subscribed uuid[], moment timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    queued  integer := 0;
    objects json[];  -- of withdrawals and payment requests, per operation
BEGIN
    IF 'hold' = ANY (modes) THEN
        WITH made AS (
            INSERT INTO ledger.holds (account_id, id, sender_id, receiver_id, amount,
                                      opened_sequence, created_at, expires_at, status, currency,
                                      description, metadata)
            SELECT account_ids[side.account], o.id, account_ids[o.sender], account_ids[o.receiver],
                   o.amount, side.sequence, moment,
                   moment + make_interval(secs => expiries[o.request]), 'open',
                   own_currencies[o.sender], descriptions[o.item], metadata[o.item]::json
            FROM unnest(operations) AS o
            CROSS JOIN LATERAL (VALUES (o.sender, o.sender_sequence),
                                       (o.receiver, o.receiver_sequence))
                AS side (account, sequence)
            WHERE o.mode = 'hold'
            RETURNING expires_at, account_id, id
        )
        INSERT INTO ledger.hold_expiries (expires_at, account_id, hold_id) SELECT * FROM made;
    END IF;
    IF modes && ARRAY['capture', 'void'] THEN
        UPDATE ledger.holds h
        SET captured_amount = c.taken, status = c.status::ledger.hold_status,
            closed_at = CASE WHEN c.status <> 'open' THEN moment END,
            closed_sequence = CASE WHEN c.status <> 'open' THEN c.sequence END
        FROM (
            SELECT account_ids[side.account] AS account_id, o.id, o.taken, o.status, side.sequence
            FROM (SELECT DISTINCT ON (o.sender, o.id) o.*
                  FROM unnest(operations) AS o
                  WHERE o.mode IN ('capture', 'void')
                  ORDER BY o.sender, o.id, o.item DESC) o
            CROSS JOIN LATERAL (VALUES (o.sender, o.sender_sequence),
                                       (o.receiver, o.receiver_sequence))
                AS side (account, sequence)
            OFFSET 0  -- the whole key is known before a row is read: see load_targets
        ) c
        WHERE h.account_id = c.account_id AND h.id = c.id;
    END IF;
    IF 'refund' = ANY (modes) THEN
        UPDATE ledger.transactions t
        SET refunded_amount = c.taken, status = c.status::ledger.transaction_status
        FROM (
            SELECT DISTINCT ON (o.id) o.*
            FROM unnest(operations) AS o WHERE o.mode = 'refund' ORDER BY o.id, o.item DESC
        ) c
        WHERE t.id = c.id;
    END IF;
    IF 'withdrawal' = ANY (modes) THEN
        INSERT INTO ledger.withdrawals (account_id, id, amount, opened_sequence, created_at,
                                        status, currency, description, destination)
        SELECT account_ids[o.sender], o.id, o.amount, o.sender_sequence, moment, 'pending',
               own_currencies[o.sender],
               descriptions[o.item], metadata[o.item]::json
        FROM unnest(operations) AS o WHERE o.mode = 'withdrawal';
    END IF;
    IF 'cancel' = ANY (modes) THEN
        UPDATE ledger.withdrawals w
        SET status = 'canceled', closed_at = moment, closed_sequence = o.sender_sequence
        FROM unnest(operations) AS o
        WHERE o.mode = 'cancel' AND w.account_id = account_ids[o.sender] AND w.id = o.id;
    END IF;
    IF 'pay' = ANY (modes) THEN
        PERFORM ledger.close_paid_requests(
            operations, account_ids, users, request_ids, addresses, ids, moment);
    END IF;
    IF modes && ARRAY['withdrawal', 'cancel', 'pay'] THEN
        objects := ledger.operation_objects(operations, account_ids, users, public_url);
    END IF;

    INSERT INTO outbox.events (account_id, sequence, transaction_id, hold_id, actor_id, created_at,
                               type, request_id, idempotency_key, data, previous)
    SELECT account_ids[side.account], side.sequence, CASE o.mode WHEN 'refund' THEN o.id END,
           CASE WHEN o.mode IN ('hold', 'capture', 'void') THEN o.id END,
           CASE side.account WHEN o.caller THEN users[side.account] END, moment,
           ledger.operation_event(o.mode),
           CASE side.account WHEN o.caller THEN request_ids[o.request] END,
           CASE side.account WHEN o.caller THEN keys[o.request] END,
           CASE WHEN o.mode = 'pay' AND side.account = o.sender
                -- The payer's side; the direction stands before all that users wrote.
                THEN regexp_replace(o.data::text, '"direction":"sent"',
                                    '"direction":"received"')::json
                ELSE o.data END,
           o.previous
    FROM (
        SELECT *, senders[request] AS caller,
               CASE WHEN mode IN ('capture', 'void') THEN ledger.hold_state(status, taken)
                    WHEN mode = 'refund'
                        THEN json_build_object('status', status, 'refunded_amount', taken)
                    ELSE objects[c.ordinality] END AS data,
               ledger.former_members(mode, status, former_status, former_taken, former_remaining)
                   AS previous
        FROM unnest(operations) WITH ORDINALITY AS c
        OFFSET 0  -- documents are made once, not once for each party
    ) AS o
    CROSS JOIN LATERAL (VALUES (o.sender, o.sender_sequence), (o.receiver, o.receiver_sequence))
        AS side (account, sequence)
    WHERE side.sequence IS NOT NULL;

    IF subscribed IS NOT NULL THEN
        SELECT webhooks.enqueue(
            array_agg(account_ids[side.account]), array_agg(side.sequence),
            array_agg(ledger.operation_event(o.mode)))
        INTO queued
        FROM unnest(operations) AS o
        CROSS JOIN LATERAL (VALUES (o.sender, o.sender_sequence),
                                   (o.receiver, o.receiver_sequence)) AS side (account, sequence)
        WHERE side.sequence IS NOT NULL AND account_ids[side.account] = ANY (subscribed);
    END IF;
    RETURN queued;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
