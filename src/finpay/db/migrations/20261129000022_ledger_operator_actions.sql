-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- How an operator's movement of money is carried out: the parties, the locks, the decision (or the
-- wait for a second operator), the writes. The file before has the types and keys, the file behind
-- the commands that operators call.

-- The parties of an operator's action, found before their locks as they never change: the user's
-- account, whose money it is about, and the accounts that money moves from and to. A system account
-- is found by the currency. Null where there is no such thing.
CREATE FUNCTION ledger.parties_of_action(
    action ledger.operator_action,
    OUT account_id uuid, OUT sender_id uuid, OUT receiver_id uuid, OUT currency text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    refunded ledger.transactions;
BEGIN
    CASE action.action
    WHEN 'deposit' THEN
        SELECT a.id, a.currency INTO account_id, currency
        FROM ledger.accounts a
        WHERE a.id = action.account_id AND a.user_id IS NOT NULL AND a.status <> 'closed';
        receiver_id := account_id;
    WHEN 'withdrawal' THEN
        SELECT w.account_id, w.currency INTO account_id, currency
        FROM ledger.withdrawals w WHERE w.id = action.target_id;
        sender_id := account_id;
    ELSE
        SELECT * INTO refunded FROM ledger.transactions t
        WHERE t.id = action.target_id AND t.status <> 'failed';
        sender_id   := refunded.receiver_id;
        receiver_id := refunded.sender_id;
        currency    := refunded.currency;
        SELECT a.id INTO account_id FROM ledger.accounts a
        WHERE a.user_id IS NOT NULL
          AND a.id = CASE refunded.type WHEN 'withdrawal' THEN receiver_id ELSE sender_id END;
    END CASE;
END
$$;

-- Does what an operator commands, or has it wait for a second one: above origin.approval_above, if
-- nothing else refuses it. `approval` is the one that is carried out; null: none.
CREATE FUNCTION ledger.operate(
    origin ledger.operator_origin, action ledger.operator_action, new_id uuid,
    approval ledger.approvals DEFAULT NULL
) RETURNS ledger.operator_result
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a plan made while a table was small is kept while it grows
AS $$
DECLARE
    parties    record;
    system_id  uuid;
    sender     ledger.accounts;
    receiver   ledger.accounts;
    withdrawal ledger.withdrawals;
    refunded   ledger.transactions;
    taken      ledger.payment_references;
    made       ledger.approvals;
    moved      ledger.transactions;
    result     ledger.operator_result;
    members    json;
    amount     bigint;
    remaining  bigint;
    moment     timestamptz;
BEGIN
    PERFORM ledger.check_operator_origin(origin);
    IF ((action.amount BETWEEN 1 AND 9007199254740991 OR action.amount IS NULL)
        AND (action.amount IS NOT NULL OR action.action <> 'deposit')
        AND char_length(COALESCE(action.description, '')) <= 500
        AND (COALESCE(char_length(action.reference), 0) BETWEEN 1 AND 100)
            = (action.action <> 'refund')
        AND new_id IS NOT NULL) IS NOT TRUE THEN
        RAISE EXCEPTION 'an amount, reference or description is not valid'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    parties := ledger.parties_of_action(action);
    IF parties.currency IS NULL THEN
        RETURN ledger.unknown_result(origin, CASE
            WHEN action.action <> 'deposit' THEN 'not_found'::ledger.outcome
            WHEN ledger.is_operator(origin.operator_id) THEN 'receiver_not_found'
            ELSE 'forbidden' END);
    END IF;
    system_id := ledger.system_account(parties.currency);
    PERFORM FROM ledger.accounts a
    WHERE a.id IN (parties.sender_id, parties.receiver_id, system_id)
    ORDER BY a.id FOR NO KEY UPDATE;
    SELECT * INTO sender FROM ledger.accounts a WHERE a.id = COALESCE(parties.sender_id, system_id);
    SELECT * INTO receiver FROM ledger.accounts a
    WHERE a.id = COALESCE(parties.receiver_id, system_id);
    moment := clock_timestamp();
    result := ledger.stored_operator_result(origin, system_id);
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;

    SELECT * INTO withdrawal FROM ledger.withdrawals w
    WHERE action.action = 'withdrawal' AND w.account_id = sender.id AND w.id = action.target_id;
    SELECT * INTO refunded FROM ledger.transactions t
    WHERE action.action = 'refund' AND t.id = action.target_id;
    remaining := refunded.amount - COALESCE(refunded.refunded_amount, 0);
    amount := COALESCE(action.amount, withdrawal.amount, remaining);
    IF refunded.id IS NOT NULL AND sender.held > 0 AND sender.balance - sender.held < amount THEN
        PERFORM ledger.expire_keys(
            ledger.due_holds_of(ARRAY[sender.id], moment, 10000), moment);
        SELECT * INTO sender FROM ledger.accounts a WHERE a.id = sender.id;
    END IF;
    taken := ledger.taken_reference(parties.currency, action.action, action.reference);
    result.outcome := CASE
        WHEN NOT ledger.is_operator(origin.operator_id)
            OR origin.operator_id IN (sender.user_id, receiver.user_id) THEN 'forbidden'
        WHEN withdrawal.status <> 'pending' THEN 'withdrawal_not_pending'
        WHEN refunded.type NOT IN ('transfer', 'deposit', 'withdrawal') THEN 'not_refundable'
        WHEN taken.transaction_id IS NOT NULL OR taken.approval_id <> approval.id
            OR (taken.approval_id IS NOT NULL AND approval.id IS NULL) THEN 'reference_taken'
        WHEN sender.user_id IS NOT NULL AND sender.status <> 'active' AND refunded.id IS NULL
            THEN 'sender_unavailable'
        WHEN receiver.user_id IS NOT NULL AND receiver.status <> 'active'
            THEN 'receiver_unavailable'
        WHEN amount > remaining OR remaining = 0 THEN 'amount_too_large'
        WHEN sender.user_id IS NOT NULL AND refunded.id IS NOT NULL
            AND sender.balance - sender.held < amount THEN 'insufficient_funds'
        WHEN receiver.user_id IS NOT NULL AND receiver.balance > 9007199254740991 - amount
            THEN 'balance_limit'
        WHEN origin.operator_id IS NOT NULL AND approval.id IS NULL
            AND amount > (origin.approval_above ->> parties.currency)::bigint
            THEN 'approval_required'
        ELSE 'completed' END;
    result.http_status := ledger.http_status(result.outcome::ledger.outcome, action.action);

    IF result.outcome = 'approval_required' THEN
        INSERT INTO ledger.approvals (id, requested_by, account_id, target_id, amount, created_at,
                                      expires_at, action, currency, reference, description)
        VALUES (new_id, origin.operator_id, parties.account_id, action.target_id, amount, moment,
                moment + interval '7 days', action.action, parties.currency, action.reference,
                action.description)
        RETURNING * INTO made;
        IF action.action = 'deposit' THEN
            PERFORM ledger.take_reference(made.currency, 'deposit', made.reference, NULL, made.id);
        END IF;
        INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address)
        VALUES (moment, origin.operator_id, made.account_id, 'approval.requested',
                origin.request_id, origin.address);
        result.answer := ledger.approval_object(made);
    ELSIF result.outcome = 'completed' THEN
        moved := ledger.move_money(
            new_id, sender.id, receiver.id, amount, COALESCE(withdrawal.amount, 0),
            action.action::ledger.transaction_type, CASE action.action
                WHEN 'withdrawal' THEN 'withdrawal'::ledger.transaction_origin
                WHEN 'refund' THEN 'transaction' END, action.target_id,
            COALESCE(action.description, withdrawal.description), origin.operator_id,
            origin.request_id, origin.address, moment, CASE
                WHEN approval.id IS NOT NULL THEN json_build_object(
                    'approval', ledger.type_id('apr', approval.id),
                    'requested_by', ledger.type_id('usr', approval.requested_by))
                WHEN origin.operator_id IS NULL
                    THEN '{"command_line":true,"second_operator":false}' END);
        IF action.reference IS NOT NULL THEN
            PERFORM ledger.take_reference(parties.currency, action.action, action.reference,
                                          new_id, NULL);
        END IF;
        PERFORM ledger.finish_action(action, withdrawal, refunded, amount, new_id, moment);
        result.transaction_id := new_id;
        result.users := array_remove(ARRAY[sender.user_id, receiver.user_id], NULL);
        result.answer := ledger.operator_transaction(moved, action.reference);
    ELSE
        members := CASE result.outcome
            WHEN 'withdrawal_not_pending'
                THEN json_build_object('status_now', withdrawal.status)
            WHEN 'amount_too_large' THEN json_build_object('left', remaining)
            WHEN 'insufficient_funds' THEN '{"transaction_id":null}'
            WHEN 'reference_taken' THEN json_build_object(
                'transaction_id', ledger.type_id('txn', taken.transaction_id)) END;
    END IF;
    RETURN ledger.store_operator_result(result, origin, system_id, members, moment);
END
$$;

-- Gives a reference to a payment, or reserves it for an approval. A reservation whose approval has
-- ended is replaced.
CREATE FUNCTION ledger.take_reference(
    of_currency text, of_space text, of_reference text, of_transaction uuid, of_approval uuid
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO ledger.payment_references AS r (currency, space, reference, transaction_id,
                                                approval_id)
    VALUES (of_currency, of_space, of_reference, of_transaction, of_approval)
    ON CONFLICT (currency, space, reference) DO UPDATE
        SET transaction_id = excluded.transaction_id, approval_id = excluded.approval_id
        WHERE r.transaction_id IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the reference belongs to another payment' USING ERRCODE = 'XX001';
    END IF;
END
$$;

-- What a movement of money ends: the withdrawal that it pays, or a part of the transaction that it
-- refunds, with the events about it.
CREATE FUNCTION ledger.finish_action(
    action ledger.operator_action, withdrawal ledger.withdrawals, refunded ledger.transactions,
    of_amount bigint, of_transaction uuid, moment timestamptz
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    former ledger.transactions := refunded;
    party  uuid;
BEGIN
    IF action.action = 'withdrawal' THEN
        UPDATE ledger.withdrawals w
        SET status = 'completed', transaction_id = of_transaction, reference = action.reference,
            closed_at = moment, closed_sequence = a.sequence + 1
        FROM ledger.accounts a
        WHERE w.account_id = withdrawal.account_id AND w.id = withdrawal.id
          AND a.id = w.account_id
        RETURNING w.* INTO withdrawal;
        PERFORM ledger.add_step(
            withdrawal.account_id, 0, 0, 'withdrawal.completed', NULL, NULL,
            ledger.withdrawal_object(withdrawal), json_build_object(
                'status', 'pending', 'reference', NULL, 'transaction_id', NULL), moment);
    ELSIF action.action = 'refund' THEN
        UPDATE ledger.transactions t
        SET refunded_amount = COALESCE(t.refunded_amount, 0) + of_amount,
            status = CASE WHEN COALESCE(t.refunded_amount, 0) + of_amount = t.amount
                          THEN 'reversed'::ledger.transaction_status ELSE t.status END
        WHERE t.id = refunded.id RETURNING * INTO refunded;
        FOREACH party IN ARRAY ARRAY[refunded.sender_id, refunded.receiver_id] LOOP
            PERFORM ledger.add_step(
                party, 0, 0, 'transaction.refunded', refunded.id, NULL,
                json_build_object('status', refunded.status,
                                  'refunded_amount', refunded.refunded_amount),
                json_build_object('status', former.status,
                                  'refunded_amount', COALESCE(former.refunded_amount, 0)),
                moment);
        END LOOP;
    END IF;
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
