-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The rules of the ledger: what can become of a request, and the first rule that it breaks. No
-- function of this file reads a table. PostgreSQL inlines each of them, so they have no search_path
-- of their own: that of the function that calls them is fixed.

-- What can become of a request, in order of precedence: one that breaks several rules gets the
-- first. finpay.ledger.outcome has the same list; a test compares them.
CREATE TYPE ledger.outcome AS ENUM (
    'idempotency_key_reuse',
    'duplicate',
    'not_found',
    'forbidden',
    'account_frozen',
    'email_not_verified',
    'same_account',
    'receiver_not_found',
    'hold_not_open',
    'request_not_open',
    'withdrawal_not_pending',
    'approval_not_pending',
    'schedule_not_active',
    'not_refundable',
    'reference_taken',
    'sender_unavailable',
    'receiver_unavailable',
    'currency_mismatch',
    'precondition_failed',
    'amount_too_large',
    'limit_exceeded',
    'insufficient_funds',
    'balance_limit',
    'approval_required',
    'completed'
);

-- The HTTP status of a request's answer, by its mode: see ledger.post_transfers.
CREATE FUNCTION ledger.http_status(outcome ledger.outcome, mode text) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE outcome
    WHEN 'completed' THEN CASE WHEN mode IN ('independent', 'void', 'cancel') THEN 200 ELSE 201 END
    WHEN 'approval_required' THEN 202
    WHEN 'insufficient_funds' THEN 402
    WHEN 'forbidden' THEN 403
    WHEN 'account_frozen' THEN 403
    WHEN 'email_not_verified' THEN 403
    WHEN 'not_found' THEN 404
    WHEN 'receiver_not_found' THEN 404
    WHEN 'hold_not_open' THEN 409
    WHEN 'request_not_open' THEN 409
    WHEN 'withdrawal_not_pending' THEN 409
    WHEN 'approval_not_pending' THEN 409
    WHEN 'schedule_not_active' THEN 409
    WHEN 'reference_taken' THEN 409
    WHEN 'precondition_failed' THEN 412
    ELSE 422
END::smallint;

-- Whether an amount is within the limits of its sender, of whom `sent` was sent that day.
CREATE FUNCTION ledger.is_within_limits(
    amount bigint, sent bigint, limit_single bigint, limit_daily bigint
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN COALESCE(amount <= limit_single, true) AND COALESCE(sent + amount <= limit_daily, true);

-- Why the owner of an account may not move money; null: the owner may. That e-mail addresses have
-- to be verified is a setting of the app's connections.
CREATE FUNCTION ledger.owner_refusal(status ledger.account_status, email_verified boolean)
RETURNS ledger.outcome
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN status <> 'active' THEN 'account_frozen'::ledger.outcome
    WHEN NOT email_verified AND current_setting('finpay.require_verified_sender', true) = 'on'
        THEN 'email_not_verified'
END;

-- The outcome of a transfer; of a hold, if the receiver's balance is given as 0: only a capture can
-- pass the limit of a balance. `same_account` and the receiver's arguments are null where there is
-- no receiver.
CREATE FUNCTION ledger.transfer_outcome(
    amount bigint,
    currency text,            -- null: the sender's
    same_account boolean,
    sender_refusal ledger.outcome,  -- see owner_refusal
    sender_currency text,
    sender_available bigint,
    receiver_frozen boolean,
    receiver_currency text,
    receiver_balance bigint,
    precondition_holds boolean,
    within_limits boolean
) RETURNS ledger.outcome
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN sender_refusal IS NOT NULL THEN sender_refusal
    WHEN same_account THEN 'same_account'
    WHEN receiver_balance IS NULL THEN 'receiver_not_found'
    WHEN receiver_frozen THEN 'receiver_unavailable'
    WHEN sender_currency <> receiver_currency THEN 'currency_mismatch'
    WHEN currency <> sender_currency THEN 'currency_mismatch'
    WHEN NOT precondition_holds THEN 'precondition_failed'
    WHEN NOT within_limits THEN 'limit_exceeded'
    WHEN sender_available < amount THEN 'insufficient_funds'
    WHEN receiver_balance > 9007199254740991 - amount THEN 'balance_limit'
    ELSE 'completed'
END;

-- The outcome of a capture: the receiver of a hold takes `amount` of what is `remaining` of it.
CREATE FUNCTION ledger.capture_outcome(
    amount bigint,
    remaining bigint,            -- null: the caller is no party of such a hold
    is_sender boolean,
    caller_refusal ledger.outcome,
    is_open boolean,
    sender_frozen boolean,
    receiver_balance bigint
) RETURNS ledger.outcome
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN remaining IS NULL THEN 'not_found'::ledger.outcome
    WHEN is_sender THEN 'forbidden'
    WHEN caller_refusal IS NOT NULL THEN caller_refusal
    WHEN NOT is_open THEN 'hold_not_open'
    WHEN sender_frozen THEN 'sender_unavailable'
    WHEN amount > remaining THEN 'amount_too_large'
    WHEN receiver_balance > 9007199254740991 - amount THEN 'balance_limit'
    ELSE 'completed'
END;

-- The outcome of a void: the receiver of a hold releases what is `remaining` of it, frozen or not.
CREATE FUNCTION ledger.void_outcome(remaining bigint, is_sender boolean, is_open boolean)
RETURNS ledger.outcome
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN remaining IS NULL THEN 'not_found'::ledger.outcome
    WHEN is_sender THEN 'forbidden'
    WHEN NOT is_open THEN 'hold_not_open'
    ELSE 'completed'
END;

-- The outcome of a refund: the receiver of a transfer gives back `amount` of what is `remaining`.
CREATE FUNCTION ledger.refund_outcome(
    amount bigint,
    remaining bigint,            -- null: the caller is no party of such a transaction
    is_payer boolean,
    caller_refusal ledger.outcome,
    is_refundable boolean,
    payer_frozen boolean,
    caller_available bigint,
    payer_balance bigint
) RETURNS ledger.outcome
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN remaining IS NULL THEN 'not_found'::ledger.outcome
    WHEN is_payer THEN 'forbidden'
    WHEN caller_refusal IS NOT NULL THEN caller_refusal
    WHEN NOT is_refundable THEN 'not_refundable'
    WHEN payer_frozen THEN 'receiver_unavailable'
    WHEN amount > remaining OR remaining = 0 THEN 'amount_too_large'
    WHEN caller_available < amount THEN 'insufficient_funds'
    WHEN payer_balance > 9007199254740991 - amount THEN 'balance_limit'
    ELSE 'completed'
END;

-- The outcome of a payment of a request: a transfer of its amount to its requester.
CREATE FUNCTION ledger.payment_outcome(
    amount bigint,               -- null: the caller may not know of such a request
    is_requester boolean,
    caller_refusal ledger.outcome,
    is_open boolean,
    caller_currency text,
    caller_available bigint,
    requester_frozen boolean,
    requester_currency text,
    requester_balance bigint,
    within_limits boolean
) RETURNS ledger.outcome
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN amount IS NULL THEN 'not_found'::ledger.outcome
    WHEN is_requester THEN 'forbidden'
    WHEN caller_refusal IS NULL AND NOT is_open THEN 'request_not_open'
    ELSE ledger.transfer_outcome(
        amount, NULL, false, caller_refusal, caller_currency, caller_available, requester_frozen,
        requester_currency, requester_balance, true, within_limits)
END;

-- The outcome of a new withdrawal.
CREATE FUNCTION ledger.withdrawal_outcome(
    amount bigint, refusal ledger.outcome, available bigint, within_limits boolean
) RETURNS ledger.outcome
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN refusal IS NOT NULL THEN refusal
    WHEN NOT within_limits THEN 'limit_exceeded'
    WHEN available < amount THEN 'insufficient_funds'
    ELSE 'completed'
END;

-- The outcome of a withdrawal's cancellation by its owner, frozen or not.
CREATE FUNCTION ledger.cancel_outcome(remaining bigint, is_open boolean) RETURNS ledger.outcome
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN remaining IS NULL THEN 'not_found'::ledger.outcome
    WHEN NOT is_open THEN 'withdrawal_not_pending'
    ELSE 'completed'
END;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
