-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- How the ledger decides a commit batch. No function of this file reads or writes a table:
-- arguments in, result out. …_ledger_posting locks the accounts before, and writes the result
-- after. They have no search_path of their own, which each call would set anew: that of their
-- caller is fixed.

-- What becomes of an item of a commit batch. Parties are positions in the locked accounts, those of
-- the money: the sender of a capture is the payer. No transaction is recorded where sent_sequence
-- is null; the receiver's side of a failed one is null.
CREATE TYPE ledger.decided_item AS (
    id                uuid,
    amount            bigint,
    outcome           ledger.outcome,
    request           integer,
    index             integer, -- in its request, from 0
    sender            integer,
    receiver          integer,
    sent_sequence     bigint,
    sent_version      bigint,
    sent_balance      bigint,
    sent_held         bigint,
    received_sequence bigint,
    received_version  bigint,
    received_balance  bigint,
    received_held     bigint
);

-- What an operation is about, as it is stored: a hold, the transaction that a refund gives back, a
-- withdrawal, or a payment request. `taken` is what was captured or refunded of it.
CREATE TYPE ledger.operation_target AS (
    id          uuid,
    sender      integer,     -- its position in the locked accounts; of a request the requester
    amount      bigint,
    taken       bigint,
    status      text,
    is_open     boolean,     -- may be captured, voided, refunded, canceled or paid
    is_of_today boolean,     -- counted in what its sender sent on the day of the decision
    created_at  timestamptz,
    expires_at  timestamptz,
    description text,
    metadata    text
);

-- A hold, refund, withdrawal or request that an operation makes or changes. Sequences are those of
-- the events about it; null: no event for that side.
CREATE TYPE ledger.decided_operation AS (
    id                uuid,     -- of the hold, refunded transaction, withdrawal or request
    amount            bigint,   -- of a new one
    request           integer,
    item              integer,
    mode              text,
    sender            integer,
    receiver          integer,
    taken             bigint,   -- captured or refunded after it, as the next
    status            text,
    former_taken      bigint,
    former_remaining  bigint,
    former_status     text,
    sender_sequence   bigint,
    receiver_sequence bigint
);

-- What an operation does if it completes.
CREATE TYPE ledger.operation_effect AS (
    outcome    ledger.outcome,
    amount     bigint,
    is_moving  boolean,  -- the amount moves; else it is reserved, or released
    is_paying  boolean,  -- the caller's money; else the other party's
    released   bigint,   -- of what the payer has on hold; negative: reserved
    given_back bigint,   -- to the payer's limit, on the day of the payment; negative: counted
    taken      bigint,
    status     text
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
    sender_sequences bigint[],          -- the caller's last; null: the request changed nothing
    ranges           ledger.history_range[],  -- null but for a transfer batch
    -- Per item.
    items              ledger.decided_item[],  -- null: not tried, or reverted
    item_outcomes      ledger.outcome[],
    receiver_users     uuid[],          -- the other party; null, as the next: not completed
    receiver_sequences bigint[],
    members            text[],          -- of a refusal: further members of its answer; null: none
    operations         ledger.decided_operation[],  -- those that change something
    -- Per account: after the batch.
    balances  bigint[],
    helds     bigint[],
    versions  bigint[],
    sequences bigint[],
    sents     bigint[]                  -- of the day of the decision
);

-- The position of an account in a list of accounts that is sorted by id; null: it is not there.
CREATE FUNCTION ledger.position_of(id uuid, account_ids uuid[]) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE account_ids[width_bucket(id, account_ids)] WHEN id
    THEN width_bucket(id, account_ids) END;

-- Decides one operation: a hold, capture, void, refund, withdrawal, cancellation or payment of a
-- request. The other party is the receiver of a hold and the sender of a target; null for a
-- withdrawal.
CREATE FUNCTION ledger.decide_operation(
    mode text,
    amount bigint,            -- null: all that is left
    currency text,
    is_final boolean,
    target ledger.operation_target,
    is_same_account boolean,
    caller_refusal ledger.outcome,
    caller_currency text,
    caller_balance bigint,
    caller_available bigint,
    other_frozen boolean,
    other_currency text,
    other_balance bigint,
    precondition_holds boolean,
    within_limits boolean
) RETURNS ledger.operation_effect
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    remaining CONSTANT bigint := target.amount - target.taken;
    moved     CONSTANT bigint := COALESCE(amount, remaining);
    released  bigint;
BEGIN
    -- One expression for each: every further one is set up anew in each transaction. The columns:
    -- outcome, amount, is_moving, is_paying, released, given_back, taken, status.
    CASE mode
    WHEN 'hold' THEN
        RETURN ROW(
            ledger.transfer_outcome(
                amount, currency, is_same_account, caller_refusal, caller_currency,
                caller_available, other_frozen, other_currency, other_balance * 0,
                precondition_holds, within_limits),
            amount, false, true, -amount, -amount, 0, 'open')::ledger.operation_effect;
    WHEN 'capture' THEN
        released := CASE WHEN is_final IS FALSE THEN moved ELSE remaining END;
        RETURN ROW(
            ledger.capture_outcome(
                moved, remaining, is_same_account, caller_refusal, target.is_open, other_frozen,
                caller_balance),
            moved, true, false, released, released - moved, target.taken + moved,
            CASE WHEN released = remaining THEN 'captured' ELSE 'open' END
            )::ledger.operation_effect;
    WHEN 'refund' THEN
        RETURN ROW(
            ledger.refund_outcome(
                moved, remaining, is_same_account, caller_refusal, target.is_open, other_frozen,
                caller_available, other_balance),
            moved, true, true, 0, 0, target.taken + moved,
            CASE WHEN moved = remaining THEN 'reversed' ELSE 'completed' END
            )::ledger.operation_effect;
    WHEN 'void' THEN
        RETURN ROW(
            ledger.void_outcome(remaining, is_same_account, target.is_open),
            moved, false, false, remaining, remaining, target.taken, 'voided'
            )::ledger.operation_effect;
    WHEN 'withdrawal' THEN
        RETURN ROW(
            ledger.withdrawal_outcome(amount, caller_refusal, caller_available, within_limits),
            amount, false, true, -amount, -amount, 0, 'pending')::ledger.operation_effect;
    WHEN 'cancel' THEN
        RETURN ROW(
            ledger.cancel_outcome(remaining, target.is_open),
            moved, false, true, remaining, remaining, target.taken, 'canceled'
            )::ledger.operation_effect;
    WHEN 'pay' THEN
        RETURN ROW(
            ledger.payment_outcome(
                moved, is_same_account, caller_refusal, target.is_open, caller_currency,
                caller_available, other_frozen, other_currency, other_balance, within_limits),
            moved, true, true, 0, -moved, target.taken, 'paid')::ledger.operation_effect;
    END CASE;
END
$$;

-- The further members of a refusal's answer. `limits` is the JSON of the sender's limits.
CREATE FUNCTION ledger.refusal_members(
    outcome ledger.outcome, status_now text, remaining bigint, limits text
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN outcome IN ('hold_not_open', 'request_not_open', 'withdrawal_not_pending')
        THEN ',"status_now":"' || status_now || '"'
    WHEN outcome = 'amount_too_large' THEN ',"left":' || remaining
    WHEN outcome = 'limit_exceeded' THEN ',"limits":' || limits
END;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
