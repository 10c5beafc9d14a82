-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- What ledger.post_transfers reads and writes for operations alone: holds, captures, voids,
-- refunds, withdrawals and their cancellations. None of these functions is called where a commit
-- batch has transfers only. Accounts are locked by the caller; arguments are as there.

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
END;

-- The accounts of the senders of holds and transactions that are targets: parties never change, so
-- they are read before the locks.
CREATE FUNCTION ledger.payers_of(
    accounts uuid[], senders integer[], modes text[], targets uuid[]
) RETURNS uuid[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(p.sender_id)
    FROM unnest(senders, modes, targets) AS q (sender, mode, target)
    CROSS JOIN LATERAL (
        SELECT h.sender_id FROM ledger.holds h
        WHERE q.mode IN ('capture', 'void') AND h.account_id = accounts[q.sender]
          AND h.id = q.target
        UNION ALL
        SELECT t.sender_id FROM ledger.transactions t
        WHERE q.mode = 'refund' AND t.id = q.target AND t.receiver_id = accounts[q.sender]
        OFFSET 0
    ) p
$$;

-- The targets of requests, each once, and the position among them per request; null where the
-- caller is no party of it. A hold is open while both parties' rows are and its time has not come.
CREATE FUNCTION ledger.load_targets(
    account_ids uuid[], senders integer[], modes text[], ids uuid[], moment timestamptz,
    OUT targets ledger.operation_target[], OUT positions integer[]
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    today CONSTANT date := (moment AT TIME ZONE 'UTC')::date;
BEGIN
    WITH found AS (
        SELECT q.n, dense_rank() OVER (ORDER BY t.kind, t.sender_id, t.id) AS position,
               row_number() OVER (PARTITION BY t.kind, t.sender_id, t.id ORDER BY q.n) = 1
                   AS is_first,
               t.*
        FROM unnest(senders, modes, ids) WITH ORDINALITY AS q (sender, mode, id, n)
        CROSS JOIN LATERAL (
            SELECT 'hold' AS kind, h.id, h.sender_id, h.receiver_id, h.amount,
                   h.captured_amount AS taken,
                   CASE WHEN h.status = 'open' AND (h.expires_at <= moment OR r.status <> 'open')
                        THEN 'expired' ELSE h.status::text END AS status,
                   h.status = 'open' AND r.status = 'open' AND h.expires_at > moment AS is_open,
                   h.created_at, h.expires_at, h.description, h.metadata::text AS metadata
            FROM ledger.holds own
            JOIN ledger.holds h ON h.account_id = own.sender_id AND h.id = own.id
            JOIN ledger.holds r ON r.account_id = own.receiver_id AND r.id = own.id
            WHERE q.mode IN ('capture', 'void') AND own.account_id = account_ids[q.sender]
              AND own.id = q.id
            UNION ALL
            SELECT 'transaction', t.id, t.sender_id, t.receiver_id, t.amount,
                   COALESCE(t.refunded_amount, 0), t.status::text, t.type = 'transfer',
                   t.created_at, NULL, NULL, NULL
            FROM ledger.transactions t
            WHERE q.mode = 'refund' AND t.id = q.id AND t.status <> 'failed'
              AND account_ids[q.sender] IN (t.sender_id, t.receiver_id)
            UNION ALL
            SELECT 'withdrawal', w.id, w.account_id, NULL, w.amount, 0, w.status::text,
                   w.status = 'pending', w.created_at, NULL, w.description, NULL
            FROM ledger.withdrawals w
            WHERE q.mode = 'cancel' AND w.account_id = account_ids[q.sender] AND w.id = q.id
            OFFSET 0
        ) t
        WHERE q.id IS NOT NULL
    )
    SELECT array_agg(ROW(f.id, s.n, r.n, f.amount, f.taken, f.status, f.is_open,
                         (f.created_at AT TIME ZONE 'UTC')::date = today, f.created_at,
                         f.expires_at, f.description, f.metadata)::ledger.operation_target
                     ORDER BY f.position) FILTER (WHERE f.is_first),
           array_agg(f.position::integer ORDER BY q.n)
    INTO targets, positions
    FROM generate_subscripts(senders, 1) AS q (n)
    LEFT JOIN found f ON f.n = q.n
    LEFT JOIN unnest(account_ids) WITH ORDINALITY AS s (id, n) ON s.id = f.sender_id
    LEFT JOIN unnest(account_ids) WITH ORDINALITY AS r (id, n) ON r.id = f.receiver_id;
END
$$;

-- Releases the expired holds of senders who are short of money for this batch, so that no payment
-- is refused for money that is theirs again: their own rows alone. The worker expires the others.
CREATE FUNCTION ledger.release_expired(
    account_ids uuid[], balances bigint[], INOUT helds bigint[], INOUT sents bigint[],
    INOUT sequences bigint[], senders integer[], sizes integer[], amounts bigint[],
    subscribed uuid[], moment timestamptz, OUT queued integer
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    today CONSTANT date := (moment AT TIME ZONE 'UTC')::date;
    short uuid[];
    hold  record;
    s     integer;
    expired_accounts  uuid[] := '{}';
    expired_sequences bigint[] := '{}';
BEGIN
    queued := 0;
    SELECT array_agg(account_ids[w.sender]) INTO short
    FROM (
        SELECT q.sender, sum((SELECT sum(a) FROM unnest(amounts[q.last - q.size + 1 : q.last]) a))
                   AS wanted
        FROM (SELECT r.sender, r.size, sum(r.size) OVER (ORDER BY r.n)::integer AS last
              FROM unnest(senders, sizes) WITH ORDINALITY AS r (sender, size, n)) q
        WHERE helds[q.sender] > 0
        GROUP BY q.sender
    ) w
    WHERE w.wanted > balances[w.sender] - helds[w.sender];
    IF short IS NULL THEN
        RETURN;
    END IF;
    FOR hold IN
        UPDATE ledger.holds h SET status = 'expired'
        WHERE h.account_id = ANY (short) AND h.sender_id = h.account_id
          AND h.status = 'open' AND h.expires_at <= moment
        RETURNING h.account_id, h.id, h.captured_amount, h.amount - h.captured_amount AS remaining,
                  h.created_at
    LOOP
        s := array_position(account_ids, hold.account_id);
        helds[s] := helds[s] - hold.remaining;
        sequences[s] := sequences[s] + 1;
        IF (hold.created_at AT TIME ZONE 'UTC')::date = today THEN
            sents[s] := GREATEST(sents[s] - hold.remaining, 0);
        END IF;
        INSERT INTO outbox.events (account_id, sequence, hold_id, created_at, type, data, previous)
        VALUES (hold.account_id, sequences[s], hold.id, moment, 'hold.expired',
                ledger.hold_state('expired', hold.captured_amount),
                json_build_object('status', 'open', 'remaining', hold.remaining));
        expired_accounts  := expired_accounts || hold.account_id;
        expired_sequences := expired_sequences || sequences[s];
    END LOOP;
    IF expired_accounts && subscribed THEN
        SELECT webhooks.enqueue(array_agg(e.account), array_agg(e.sequence),
                                array_agg('hold.expired'::text))
        INTO queued
        FROM unnest(expired_accounts, expired_sequences) AS e (account, sequence)
        WHERE e.account = ANY (subscribed);
    END IF;
END
$$;

-- What an event keeps of a hold: the rest never changes and is read with it.
CREATE FUNCTION ledger.hold_state(status text, captured_amount bigint) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE
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
CREATE FUNCTION ledger.former_members(
    mode text, status text, former_status text, former_taken bigint, former_remaining bigint
) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE mode
    WHEN 'capture' THEN json_strip_nulls(json_build_object(
        'status', NULLIF(former_status, status), 'captured_amount', former_taken,
        'remaining', former_remaining))
    WHEN 'void' THEN json_build_object('status', former_status, 'remaining', former_remaining)
    WHEN 'refund' THEN json_strip_nulls(json_build_object(
        'status', NULLIF(former_status, status), 'refunded_amount', former_taken))
    WHEN 'cancel' THEN json_build_object('status', former_status)
END;

-- Writes what the operations of a commit batch made and changed, with the events about it. Returns
-- the number of webhook deliveries that were added.
CREATE FUNCTION ledger.write_operations(
    operations ledger.decided_operation[], account_ids uuid[], users uuid[], own_currencies text[],
    senders integer[], modes text[], keys text[], request_ids text[], expiries integer[],
    descriptions text[], metadata text[], subscribed uuid[], moment timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    queued integer := 0;
BEGIN
    IF 'hold' = ANY (modes) THEN
        INSERT INTO ledger.holds (account_id, id, sender_id, receiver_id, amount, created_at,
                                  expires_at, status, currency, description, metadata)
        SELECT account_ids[side.account], o.id, account_ids[o.sender], account_ids[o.receiver],
               o.amount, moment, moment + make_interval(secs => expiries[o.request]), 'open',
               own_currencies[o.sender], descriptions[o.item], metadata[o.item]::json
        FROM unnest(operations) AS o
        CROSS JOIN LATERAL (VALUES (o.sender), (o.receiver)) AS side (account)
        WHERE o.mode = 'hold';
    END IF;
    IF modes && ARRAY['capture', 'void'] THEN
        UPDATE ledger.holds h
        SET captured_amount = c.taken, status = c.status::ledger.hold_status
        FROM (
            SELECT DISTINCT ON (o.sender, o.id) o.*
            FROM unnest(operations) AS o
            WHERE o.mode IN ('capture', 'void')
            ORDER BY o.sender, o.id, o.item DESC
        ) c
        CROSS JOIN LATERAL (VALUES (c.sender), (c.receiver)) AS side (account)
        WHERE h.account_id = account_ids[side.account] AND h.id = c.id;
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
        INSERT INTO ledger.withdrawals (account_id, id, amount, created_at, status, currency,
                                        description, destination)
        SELECT account_ids[o.sender], o.id, o.amount, moment, 'pending', own_currencies[o.sender],
               descriptions[o.item], metadata[o.item]::json
        FROM unnest(operations) AS o WHERE o.mode = 'withdrawal';
    END IF;
    IF 'cancel' = ANY (modes) THEN
        UPDATE ledger.withdrawals w SET status = 'canceled'
        FROM unnest(operations) AS o
        WHERE o.mode = 'cancel' AND w.account_id = account_ids[o.sender] AND w.id = o.id;
    END IF;

    INSERT INTO outbox.events (account_id, sequence, transaction_id, hold_id, actor_id, created_at,
                               type, request_id, idempotency_key, data, previous)
    SELECT account_ids[side.account], side.sequence, CASE o.mode WHEN 'refund' THEN o.id END,
           CASE WHEN o.mode IN ('hold', 'capture', 'void') THEN o.id END,
           CASE side.account WHEN o.caller THEN users[side.account] END, moment,
           ledger.operation_event(o.mode),
           CASE side.account WHEN o.caller THEN request_ids[o.request] END,
           CASE side.account WHEN o.caller THEN keys[o.request] END,
           CASE WHEN o.mode IN ('capture', 'void') THEN ledger.hold_state(o.status, o.taken)
                WHEN o.mode = 'refund'
                    THEN json_build_object('status', o.status, 'refunded_amount', o.taken)
                WHEN o.mode <> 'hold' THEN (
                    SELECT ledger.withdrawal_object(w) FROM ledger.withdrawals w
                    WHERE w.account_id = account_ids[o.sender] AND w.id = o.id) END,
           ledger.former_members(
               o.mode, o.status, o.former_status, o.former_taken, o.former_remaining)
    FROM (SELECT *, senders[request] AS caller FROM unnest(operations)) AS o
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
