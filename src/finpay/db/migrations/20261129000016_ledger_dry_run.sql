-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The unknown receivers that a user's dry runs named on a day, as hashes: so many, and there are no
-- more dry runs on that day, as they would find out who has an account.
CREATE TABLE ledger.dry_run_receivers (
    account_id uuid    NOT NULL,
    day        date    NOT NULL,
    receivers  bytea[] NOT NULL,
    CONSTRAINT dry_run_receivers_pkey PRIMARY KEY (account_id)
);

-- What would become of a transfer, hold or refund now, by the rules of ledger.post_transfers. No
-- account is locked and nothing is promised. The outcome is one of ledger.outcome, or exhausted.
-- Balances are those after it; of a refusal those of now.
CREATE FUNCTION ledger.dry_run(
    mode text, of_account uuid, of_amount bigint, of_currency text, receiver_id uuid,
    receiver_email text, target_id uuid, if_version bigint, if_balance bigint,
    OUT outcome text, OUT amount bigint, OUT currency text, OUT balance bigint,
    OUT available bigint, OUT limits json
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    max_unknown CONSTANT integer := 20;
    moment  CONSTANT timestamptz := clock_timestamp();
    today   CONSTANT date := (moment AT TIME ZONE 'UTC')::date;
    caller  ledger.accounts;
    other   ledger.accounts;
    target  ledger.operation_target;
    unknown ledger.dry_run_receivers;
    single  bigint;
    daily   bigint;
    holds   boolean;
    within  boolean;
    unknowns integer;
    effect  ledger.operation_effect;
BEGIN
    IF (mode IN ('transfer', 'hold', 'refund')
        AND (of_amount BETWEEN 1 AND 9007199254740991 OR (of_amount IS NULL AND mode = 'refund'))
        AND (target_id IS NOT NULL) = (mode = 'refund')) IS NOT TRUE THEN
        RAISE EXCEPTION 'a mode, amount or target is not valid'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO caller FROM ledger.accounts a WHERE a.id = of_account AND a.user_id IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the caller is not a user account'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO unknown FROM ledger.dry_run_receivers d
    WHERE d.account_id = of_account AND d.day = today;
    IF mode <> 'refund' AND cardinality(unknown.receivers) >= max_unknown THEN
        outcome := 'exhausted';
    ELSIF mode = 'refund' THEN
        SELECT t.id, NULL, t.amount, COALESCE(t.refunded_amount, 0), t.status,
               t.type = 'transfer', NULL, NULL, NULL, NULL, NULL
        INTO target FROM ledger.transactions t
        WHERE t.id = target_id AND t.status <> 'failed'
          AND of_account IN (t.sender_id, t.receiver_id);
        SELECT a.* INTO other FROM ledger.transactions t
        JOIN ledger.accounts a ON a.id = t.sender_id AND a.user_id IS NOT NULL
        WHERE t.id = target.id;
    ELSE
        SELECT a.* INTO other FROM ledger.accounts a
        WHERE a.user_id IS NOT NULL AND a.status <> 'closed' AND a.id = COALESCE(receiver_id, (
            SELECT b.id FROM identity.users u JOIN ledger.accounts b ON b.user_id = u.id
            WHERE u.email = receiver_email AND identity.can_be_found(u.email_verified_at)));
    END IF;
    -- As ledger.release_expired does for a sender who is short of money.
    IF caller.held > 0
       AND caller.balance - caller.held < COALESCE(of_amount, target.amount - target.taken) THEN
        SELECT caller.held - COALESCE(sum(h.remaining), 0),
               GREATEST(caller.sent_today
                        - COALESCE(sum(h.remaining) FILTER (WHERE h.is_of_today), 0), 0)
        INTO caller.held, caller.sent_today
        FROM (SELECT e.amount - e.captured_amount AS remaining,
                     (e.created_at AT TIME ZONE 'UTC')::date = today AS is_of_today
              FROM ledger.hold_expiries x
              CROSS JOIN LATERAL (
                  SELECT * FROM ledger.holds o
                  WHERE o.account_id = caller.id AND o.id = x.hold_id
                    AND o.sender_id = caller.id AND o.status = 'open' OFFSET 0
              ) e
              WHERE x.expires_at <= moment AND x.account_id = caller.id) h;
    END IF;
    SELECT l.singles[1], l.dailies[1] INTO single, daily
    FROM ledger.effective_limits(ARRAY[caller.id], ARRAY[caller.limit_single],
                                 ARRAY[caller.limit_daily], moment) l;
    holds  := COALESCE(caller.version = if_version, true)
        AND COALESCE(caller.balance >= if_balance, true);
    within := ledger.is_within_limits(
        of_amount, CASE caller.sent_on WHEN today THEN caller.sent_today ELSE 0 END, single, daily);
    IF outcome IS NULL AND mode = 'transfer' THEN
        outcome := ledger.transfer_outcome(
            of_amount, of_currency, caller.id = other.id,
            ledger.owner_refusal(caller.status, caller.email_verified),
            caller.currency, caller.balance - caller.held, other.status <> 'active',
            other.currency, other.balance, holds, within);
    ELSIF outcome IS NULL THEN
        effect := ledger.decide_operation(
            mode, of_amount, of_currency, NULL, target, caller.id = other.id,
            ledger.owner_refusal(caller.status, caller.email_verified),
            caller.currency, caller.balance, caller.balance - caller.held,
            other.status <> 'active', other.currency, other.balance, holds, within);
        outcome := effect.outcome;
    END IF;

    amount    := COALESCE(of_amount, effect.amount, 0);
    currency  := caller.currency;
    balance   := caller.balance
        - CASE WHEN outcome = 'completed' AND mode <> 'hold' THEN amount ELSE 0 END;
    available := caller.balance - caller.held
        - CASE WHEN outcome = 'completed' THEN amount ELSE 0 END;
    limits    := ledger.limits_object(caller);
    IF outcome = 'receiver_not_found' THEN
        INSERT INTO ledger.dry_run_receivers AS d (account_id, day, receivers)
        VALUES (of_account, today,
                ARRAY[sha256(convert_to(COALESCE(receiver_id::text, receiver_email), 'UTF8'))])
        ON CONFLICT (account_id) DO UPDATE
            SET day = today, receivers = CASE
                WHEN d.day <> today THEN excluded.receivers
                WHEN d.receivers @> excluded.receivers THEN d.receivers
                ELSE d.receivers || excluded.receivers END
        RETURNING cardinality(d.receivers) INTO unknowns;
        IF unknowns > max_unknown THEN  -- several at once
            outcome := 'exhausted';
        END IF;
    END IF;
END
$$;

GRANT EXECUTE ON FUNCTION ledger.dry_run TO finpay_app;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
