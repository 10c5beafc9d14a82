-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Continuous verification: the rules of `finpay ledger verify` for a slice of transactions and
-- accounts at a time, each checked by probes of primary keys, so that a slice costs the same
-- however long the history is. The slice is chosen, checked and recorded here: the app's role can
-- say when the next one is due, within an hour, and nothing else.

-- How far it came, and what it found: one row for all workers. A round begins with the totals, with
-- the transactions and accounts in which a violation was found before, and with the next of all
-- accounts; then come the transactions that are new, slice by slice.
CREATE TABLE ledger.verification_state (
    singleton            boolean     NOT NULL DEFAULT true,
    slices               integer     NOT NULL DEFAULT 0,  -- done of this round; 0: a new one begins
    violations           integer     NOT NULL DEFAULT 0,  -- found in this round
    due_at               timestamptz NOT NULL DEFAULT '-infinity',  -- of the next slice
    transaction_id       uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    account_id           uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    checked_through      timestamptz,            -- every transaction up to here was checked
    checked_at           timestamptz,            -- the end of the last slice; null: none yet
    succeeded_at         timestamptz,            -- the end of the last round without violations
    open_transaction_ids uuid[]      NOT NULL DEFAULT '{}',  -- with a violation: checked each round
    open_account_ids     uuid[]      NOT NULL DEFAULT '{}',
    messages             text[]      NOT NULL DEFAULT '{}',  -- of the first violations
    CONSTRAINT verification_state_pkey PRIMARY KEY (singleton),
    CONSTRAINT verification_state_singleton CHECK (singleton),
    CONSTRAINT verification_state_violations CHECK (violations >= 0)
);
INSERT INTO ledger.verification_state DEFAULT VALUES;

-- The violations of transactions: their entries, the entries before those, and their events.
CREATE FUNCTION ledger.check_transactions(ids uuid[]) RETURNS TABLE (id uuid, message text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT o.id, format('The transaction %s %s.', ledger.type_id('txn', o.id), rule.broken)
    FROM unnest(ids) AS o (id)
    LEFT JOIN ledger.transactions t ON t.id = o.id
    LEFT JOIN ledger.accounts s ON s.id = t.sender_id
    LEFT JOIN ledger.accounts r ON r.id = t.receiver_id
    LEFT JOIN ledger.entries sent
        ON sent.account_id = t.sender_id AND sent.version = t.sender_version
    LEFT JOIN ledger.entries received
        ON received.account_id = t.receiver_id AND received.version = t.receiver_version
    LEFT JOIN ledger.entries s_last
        ON s_last.account_id = t.sender_id AND s_last.version = t.sender_version - 1
    LEFT JOIN ledger.entries r_last
        ON r_last.account_id = t.receiver_id AND r_last.version = t.receiver_version - 1
    LEFT JOIN ledger.failed_transactions f
        ON f.account_id = t.sender_id AND f.sequence = t.failure_sequence
    LEFT JOIN ledger.entries f_last
        ON f_last.account_id = f.account_id AND f_last.version = f.version
    LEFT JOIN outbox.events s_event
        ON s_event.account_id = t.sender_id
        AND s_event.sequence = COALESCE(sent.sequence, f.sequence)
    LEFT JOIN outbox.events r_event
        ON r_event.account_id = t.receiver_id AND r_event.sequence = received.sequence
    LEFT JOIN outbox.retention_watermarks s_mark ON s_mark.account_id = t.sender_id
    LEFT JOIN outbox.retention_watermarks r_mark ON r_mark.account_id = t.receiver_id
    CROSS JOIN LATERAL (VALUES
        (t.id IS NULL, 'is missing'),
        (t.amount NOT BETWEEN 1 AND 9007199254740991, 'has an amount that clients can not read'),
        (t.id IS NOT NULL AND (
            s.id IS NULL OR r.id IS NULL OR t.sender_id = t.receiver_id
            OR CASE t.type
               WHEN 'refund' THEN s.user_id IS NULL AND r.user_id IS NULL
               WHEN 'withdrawal' THEN s.user_id IS NULL OR r.user_id IS NOT NULL
               ELSE r.user_id IS NULL
                   OR (s.user_id IS NULL) <> (t.type IN ('funding', 'deposit')) END
            OR s.currency <> t.currency OR r.currency <> t.currency),
         'has parties that can not trade'),
        (CASE WHEN t.status IN ('completed', 'reversed')
              THEN sent.transaction_id IS DISTINCT FROM t.id
                  OR received.transaction_id IS DISTINCT FROM t.id
                  OR sent.amount::numeric <> -t.amount::numeric OR received.amount <> t.amount
                  OR sent.created_at <> t.created_at OR received.created_at <> t.created_at
              ELSE COALESCE(t.sender_version, t.receiver_version) IS NOT NULL END,
         'has not the entries of its status: two that sum to zero, or none'),
        (sent.balance_after <> COALESCE(s_last.balance_after, 0)::numeric + sent.amount
         OR received.balance_after <> COALESCE(r_last.balance_after, 0)::numeric + received.amount,
         'left balances that do not follow from those before'),
        ((sent.version > 1 AND s_last.version IS NULL)
         OR (received.version > 1 AND r_last.version IS NULL)
         OR s_last.sequence >= sent.sequence OR r_last.sequence >= received.sequence,
         'has entries that do not follow those before'),
        ((s.user_id IS NOT NULL AND sent.balance_after < 0)
         OR (r.user_id IS NOT NULL
             AND received.balance_after NOT BETWEEN 0 AND 9007199254740991),
         'left a balance that a user account may not have'),
        ((t.status = 'failed') <> (t.failure_code IS NOT NULL)
         OR (t.status = 'failed') <> (t.failure_sequence IS NOT NULL)
         OR (t.status = 'failed' AND (
             f.transaction_id IS DISTINCT FROM t.id OR f.created_at <> t.created_at
             OR f.balance_after <> COALESCE(f_last.balance_after, 0))),
         'differs from its row in the sender''s history of failed ones'),
        ((s.user_id IS NOT NULL AND s_event.transaction_id IS DISTINCT FROM t.id
          AND COALESCE(sent.sequence, f.sequence) > COALESCE(s_mark.up_to_sequence, 0))
         OR (r.user_id IS NOT NULL AND r_event.transaction_id IS DISTINCT FROM t.id
             AND received.sequence > COALESCE(r_mark.up_to_sequence, 0)),
         'has not an event for each of its parties')
    ) AS rule (is_broken, broken)
    WHERE rule.is_broken;
END
$$;

-- The violations of accounts: each against its last entry and its last event.
CREATE FUNCTION ledger.check_accounts(ids uuid[]) RETURNS TABLE (id uuid, message text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT o.id, format('The account %s %s.', ledger.type_id('acc', o.id), rule.broken)
    FROM unnest(ids) AS o (id)
    LEFT JOIN ledger.accounts a ON a.id = o.id
    LEFT JOIN LATERAL (
        SELECT e.version, e.balance_after, e.transaction_id FROM ledger.entries e
        WHERE e.account_id = o.id ORDER BY e.version DESC LIMIT 1
    ) entry ON true
    LEFT JOIN ledger.transactions t ON t.id = entry.transaction_id
    LEFT JOIN LATERAL (
        SELECT e.sequence FROM outbox.events e
        WHERE e.account_id = o.id ORDER BY e.sequence DESC LIMIT 1
    ) event ON true
    LEFT JOIN outbox.retention_watermarks m ON m.account_id = o.id
    CROSS JOIN LATERAL (VALUES
        (a.id IS NULL, 'is missing'),
        (a.balance <> COALESCE(entry.balance_after, 0),
         'has not the balance that its last entry left'),
        (a.version <> COALESCE(entry.version, 0), 'has not the version of its last entry'),
        (entry.version IS NOT NULL AND t.id IS NULL, 'has a last entry without a transaction'),
        (a.user_id IS NOT NULL
         AND (a.balance::numeric - a.held < 0 OR a.balance > 9007199254740991),
         'has a balance that a user account may not have'),
        (a.user_id IS NOT NULL
         AND a.sequence <> GREATEST(COALESCE(event.sequence, 0), COALESCE(m.up_to_sequence, 0)),
         'has not the sequence of its last event')
    ) AS rule (is_broken, broken)
    WHERE rule.is_broken;
END
$$;

-- Verifies the next slice if it is due and no other session is at it: `is_done` is null if not, and
-- whether the round is complete. At most `size` transactions and accounts, none younger than
-- `lag_s`, as ids are made before the commit by processes whose clocks may differ. The next round
-- is due after `every_s`, the next slice after a rest of three times as long as this one took.
-- 22023 for arguments that would delay it for longer than an hour.
CREATE FUNCTION ledger.verify_slice(
    every_s integer, lag_s integer, size integer,
    OUT is_done boolean, OUT violations integer, OUT messages text[]
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off  -- they read whole tables, and a slice is short
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    max_slices CONSTANT integer := 500;  -- of a round: then the totals are due again
    max_open   CONSTANT integer := 100;  -- where more is broken, it waits for a repair
    max_kept   CONSTANT integer := 10;   -- `finpay ledger verify` has all of them
    started_at CONSTANT timestamptz := clock_timestamp();
    cutoff     CONSTANT timestamptz := started_at - make_interval(secs => lag_s);
    state      ledger.verification_state;
    is_first   boolean;
    next_accounts     uuid[] := '{}';
    next_transactions uuid[];
    touched_accounts  uuid[];
    last_id           text;
    broken_transactions uuid[];
    broken_accounts     uuid[];
    total      integer;
    first_messages text[];
    is_overflow boolean;
BEGIN
    IF (every_s BETWEEN 0 AND 3600 AND lag_s BETWEEN 0 AND 3600 AND size BETWEEN 1 AND 10000)
       IS NOT TRUE THEN
        RAISE EXCEPTION 'every_s and lag_s are 0 to 3600, size is 1 to 10000'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO state FROM ledger.verification_state s WHERE s.due_at <= started_at
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    is_first := state.slices = 0;

    IF is_first THEN
        SELECT COALESCE(array_agg(a.id), '{}') INTO next_accounts
        FROM (SELECT id FROM ledger.accounts WHERE id > state.account_id ORDER BY id LIMIT size) a;
    END IF;
    -- A UUIDv7 begins with 48 bits of milliseconds, so this is the order of time.
    SELECT COALESCE(array_agg(t.id), '{}'),
           COALESCE(array_agg(t.sender_id) || array_agg(t.receiver_id), '{}')
    INTO next_transactions, touched_accounts
    FROM (SELECT * FROM ledger.transactions
          WHERE id > state.transaction_id
            AND id < (lpad(to_hex((extract(epoch FROM cutoff) * 1000)::bigint + 1), 12, '0')
                      || repeat('0', 20))::uuid
          ORDER BY id LIMIT size) t;

    -- One statement, so that all of it is read in one snapshot.
    SELECT count(*), COALESCE((array_agg(v.message))[:max_kept], '{}'),
           COALESCE(array_agg(DISTINCT v.id) FILTER (WHERE v.kind = 'transaction'), '{}'),
           COALESCE(array_agg(DISTINCT v.id) FILTER (WHERE v.kind = 'account'), '{}')
    INTO total, first_messages, broken_transactions, broken_accounts
    FROM (
        SELECT 'total' AS kind, NULL::uuid AS id,
               format('The balances in %s sum to %s, not to 0.', a.currency, sum(a.balance))
                   AS message
        FROM ledger.accounts a WHERE is_first GROUP BY a.currency HAVING sum(a.balance) <> 0
        UNION ALL
        SELECT 'transaction', c.* FROM ledger.check_transactions(ARRAY(
            SELECT unnest(state.open_transaction_ids) WHERE is_first
            UNION SELECT unnest(next_transactions))) c
        UNION ALL
        SELECT 'account', c.* FROM ledger.check_accounts(ARRAY(
            SELECT unnest(state.open_account_ids) WHERE is_first
            UNION SELECT unnest(next_accounts)
            UNION (SELECT unnest(touched_accounts)
                   EXCEPT SELECT unnest(state.open_account_ids)))) c
    ) v;
    IF NOT is_first THEN
        total := total + state.violations;
        first_messages := (state.messages || first_messages)[:max_kept];
        broken_transactions := state.open_transaction_ids || broken_transactions;
        broken_accounts := state.open_account_ids || broken_accounts;
    END IF;
    is_overflow := GREATEST(cardinality(broken_transactions), cardinality(broken_accounts))
        > max_open;
    is_done := is_overflow OR cardinality(next_transactions) < size
        OR state.slices + 1 >= max_slices;
    violations := total;
    messages   := first_messages;
    last_id    := replace(next_transactions[cardinality(next_transactions)]::text, '-', '');

    UPDATE ledger.verification_state s
    SET slices = CASE WHEN is_done THEN 0 ELSE s.slices + 1 END,
        violations = total,
        messages = first_messages,
        open_transaction_ids = broken_transactions[:max_open],
        open_account_ids = broken_accounts[:max_open],
        account_id = CASE WHEN NOT is_first THEN s.account_id
                          WHEN cardinality(next_accounts) = size THEN next_accounts[size]
                          ELSE '00000000-0000-0000-0000-000000000000' END,
        transaction_id = CASE WHEN is_overflow OR next_transactions = '{}' THEN s.transaction_id
                              ELSE next_transactions[cardinality(next_transactions)] END,
        -- An id is made before its commit, so what was created up to its time has a lower one.
        checked_through = CASE
            WHEN is_overflow THEN s.checked_through
            WHEN cardinality(next_transactions) < size THEN cutoff
            ELSE to_timestamp(('x' || left(last_id, 12))::bit(48)::bigint / 1000.0) END,
        checked_at = clock_timestamp(),
        succeeded_at = CASE WHEN is_done AND total = 0 THEN clock_timestamp()
                            ELSE s.succeeded_at END,
        due_at = clock_timestamp() + CASE WHEN is_done THEN make_interval(secs => every_s)
            ELSE LEAST(3 * (clock_timestamp() - started_at), interval '30 seconds') END;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
