-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- The commands of operators, for the role finpay_operator and for the command line. Each returns
-- what it answers and stores it with its key.

-- Money from the outside world, under a reference that is new in its currency.
CREATE FUNCTION ledger.deposit(
    origin ledger.operator_origin, new_id uuid, of_account uuid, amount bigint, reference text,
    description text
) RETURNS ledger.operator_result
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ledger.operate(
        origin, ROW('deposit', of_account, NULL, amount, reference, description), new_id)
$$;

-- The payment of a pending withdrawal, under a reference that is new in its currency.
CREATE FUNCTION ledger.complete_withdrawal(
    origin ledger.operator_origin, new_id uuid, of_withdrawal uuid, reference text
) RETURNS ledger.operator_result
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ledger.operate(
        origin, ROW('withdrawal', NULL, of_withdrawal, NULL, reference, NULL), new_id)
$$;

-- Gives a transfer back to its sender, or recalls a deposit, or returns a withdrawal. Without an
-- amount: all that is left.
CREATE FUNCTION ledger.refund_transaction(
    origin ledger.operator_origin, new_id uuid, of_transaction uuid, amount bigint,
    description text
) RETURNS ledger.operator_result
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ledger.operate(
        origin, ROW('refund', NULL, of_transaction, amount, NULL, description), new_id)
$$;

-- Releases the money of a pending withdrawal, for a reason that its owner reads.
CREATE FUNCTION ledger.reject_withdrawal(
    origin ledger.operator_origin, of_withdrawal uuid, of_reason text
) RETURNS ledger.operator_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    withdrawal ledger.withdrawals;
    owner      ledger.accounts;
    system_id  uuid;
    moment     timestamptz;
    result     ledger.operator_result;
BEGIN
    PERFORM ledger.check_operator_origin(origin);
    IF (char_length(of_reason) BETWEEN 1 AND 500) IS NOT TRUE THEN
        RAISE EXCEPTION 'a reason has 1 to 500 characters'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO withdrawal FROM ledger.withdrawals w WHERE w.id = of_withdrawal;
    IF NOT FOUND THEN
        RETURN ledger.unknown_result(origin, 'not_found');
    END IF;
    system_id := ledger.system_account(withdrawal.currency);
    PERFORM FROM ledger.accounts a WHERE a.id IN (withdrawal.account_id, system_id)
    ORDER BY a.id FOR NO KEY UPDATE;
    moment := clock_timestamp();
    result := ledger.stored_operator_result(origin, system_id);
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;
    SELECT * INTO owner FROM ledger.accounts a WHERE a.id = withdrawal.account_id;
    SELECT * INTO withdrawal FROM ledger.withdrawals w
    WHERE w.account_id = owner.id AND w.id = of_withdrawal;
    result.outcome := CASE
        WHEN NOT ledger.is_operator(origin.operator_id)
            OR origin.operator_id = owner.user_id THEN 'forbidden'
        WHEN withdrawal.status <> 'pending' THEN 'withdrawal_not_pending'
        ELSE 'completed' END;
    result.http_status := ledger.http_status(result.outcome::ledger.outcome, 'cancel');
    IF result.outcome = 'completed' THEN
        UPDATE ledger.withdrawals w
        SET status = 'rejected', reason = of_reason, closed_at = moment,
            closed_sequence = owner.sequence + 1
        WHERE w.account_id = owner.id AND w.id = of_withdrawal RETURNING * INTO withdrawal;
        PERFORM ledger.add_step(
            owner.id, withdrawal.amount, CASE
                WHEN (withdrawal.created_at AT TIME ZONE 'UTC')::date
                     = (moment AT TIME ZONE 'UTC')::date THEN withdrawal.amount ELSE 0 END,
            'withdrawal.rejected', NULL, NULL, ledger.withdrawal_object(withdrawal),
            '{"status":"pending","reason":null}', moment);
        INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address)
        VALUES (moment, origin.operator_id, withdrawal.id, 'withdrawal.rejected',
                origin.request_id, origin.address);
        result.users := ARRAY[owner.user_id];
        result.answer := ledger.withdrawal_object(withdrawal)::text;
    END IF;
    RETURN ledger.store_operator_result(
        result, origin, system_id, json_build_object('status_now', withdrawal.status), moment);
END
$$;

-- Releases what is left of an open hold.
CREATE FUNCTION ledger.void_hold(origin ledger.operator_origin, of_hold uuid)
RETURNS ledger.operator_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    hold      ledger.holds;
    parties   uuid[];  -- the users
    system_id uuid;
    moment    timestamptz;
    released  bigint;
    side      ledger.holds;
    result    ledger.operator_result;
    status    text;
BEGIN
    PERFORM ledger.check_operator_origin(origin);
    SELECT * INTO hold FROM ledger.holds h
    WHERE h.id = of_hold AND h.account_id = h.sender_id;
    IF NOT FOUND THEN
        RETURN ledger.unknown_result(origin, 'not_found');
    END IF;
    system_id := ledger.system_account(hold.currency);
    PERFORM FROM ledger.accounts a WHERE a.id IN (hold.sender_id, hold.receiver_id, system_id)
    ORDER BY a.id FOR NO KEY UPDATE;
    moment := clock_timestamp();
    result := ledger.stored_operator_result(origin, system_id);
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;
    SELECT array_agg(a.user_id) INTO parties FROM ledger.accounts a
    WHERE a.id IN (hold.sender_id, hold.receiver_id);
    SELECT * INTO hold FROM ledger.holds h WHERE h.account_id = hold.sender_id AND h.id = of_hold;
    status := CASE WHEN hold.status = 'open' AND hold.expires_at <= moment THEN 'expired'
                   ELSE hold.status::text END;
    result.outcome := CASE
        WHEN NOT ledger.is_operator(origin.operator_id)
            OR origin.operator_id = ANY (parties) THEN 'forbidden'
        WHEN status <> 'open' THEN 'hold_not_open'
        ELSE 'completed' END;
    result.http_status := ledger.http_status(result.outcome::ledger.outcome, 'void');
    IF result.outcome = 'completed' THEN
        released := hold.amount - hold.captured_amount;
        FOR side IN
            UPDATE ledger.holds h
            SET status = 'voided', closed_at = moment, closed_sequence = a.sequence + 1
            FROM ledger.accounts a
            WHERE h.account_id IN (hold.sender_id, hold.receiver_id) AND h.id = of_hold
              AND a.id = h.account_id AND h.sender_id = hold.sender_id
            RETURNING h.*
        LOOP
            PERFORM ledger.add_step(
                side.account_id, CASE side.account_id WHEN side.sender_id THEN released ELSE 0 END,
                CASE WHEN side.account_id = side.sender_id
                      AND (hold.created_at AT TIME ZONE 'UTC')::date
                          = (moment AT TIME ZONE 'UTC')::date THEN released ELSE 0 END,
                'hold.voided', NULL, side.id, ledger.hold_state('voided', hold.captured_amount),
                json_build_object('status', 'open', 'remaining', released), moment);
        END LOOP;
        INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address)
        VALUES (moment, origin.operator_id, hold.id, 'hold.voided', origin.request_id,
                origin.address);
        result.users := parties;
        result.answer := json_build_object(
            'id', ledger.type_id('hld', hold.id), 'object', 'hold', 'status', 'voided',
            'amount', hold.amount, 'captured_amount', hold.captured_amount,
            'currency', hold.currency, 'sender_id', ledger.type_id('acc', hold.sender_id),
            'receiver_id', ledger.type_id('acc', hold.receiver_id),
            'expires_at', ledger.format_timestamp(hold.expires_at),
            'created_at', ledger.format_timestamp(hold.created_at))::text;
    END IF;
    RETURN ledger.store_operator_result(
        result, origin, system_id, json_build_object('status_now', status), moment);
END
$$;

-- Decides an approval: another operator than the one who asked carries the action out, or rejects
-- it. A refusal of the action is stored under the key, and the approval goes on waiting.
CREATE FUNCTION ledger.decide_approval(
    origin ledger.operator_origin, of_approval uuid, is_approved boolean, new_id uuid
) RETURNS ledger.operator_result
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    approval  ledger.approvals;
    action    ledger.operator_action;
    parties   record;
    system_id uuid;
    moment    timestamptz;
    status    text;
    result    ledger.operator_result;
BEGIN
    PERFORM ledger.check_operator_origin(origin);
    IF origin.operator_id IS NULL OR is_approved IS NULL OR new_id IS NULL THEN
        RAISE EXCEPTION 'an argument is null' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO approval FROM ledger.approvals p WHERE p.id = of_approval FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN ledger.unknown_result(origin, 'not_found');
    END IF;
    action := ROW(approval.action, approval.account_id, approval.target_id, approval.amount,
                  approval.reference, approval.description);
    parties := ledger.parties_of_action(action);
    system_id := ledger.system_account(approval.currency);
    PERFORM FROM ledger.accounts a
    WHERE a.id IN (parties.sender_id, parties.receiver_id, system_id)
    ORDER BY a.id FOR NO KEY UPDATE;
    moment := clock_timestamp();
    result := ledger.stored_operator_result(origin, system_id);
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;
    status := CASE WHEN approval.status = 'pending' AND approval.expires_at <= moment
                   THEN 'expired' ELSE approval.status END;
    result.outcome := CASE
        WHEN NOT ledger.is_operator(origin.operator_id)
            OR (is_approved AND (origin.operator_id = approval.requested_by
                                 OR NOT ledger.is_operator(approval.requested_by)))
            OR EXISTS (SELECT FROM ledger.accounts a
                       WHERE a.id IN (parties.sender_id, parties.receiver_id)
                         AND a.user_id = origin.operator_id) THEN 'forbidden'
        WHEN status <> 'pending' THEN 'approval_not_pending' END;
    IF result.outcome IS NOT NULL THEN
        result.http_status := ledger.http_status(result.outcome::ledger.outcome, 'approval');
        RETURN ledger.store_operator_result(
            result, origin, system_id, json_build_object('status_now', status), moment);
    ELSIF is_approved THEN
        result := ledger.operate(origin, action, new_id, approval);
        IF result.outcome <> 'completed' THEN
            RETURN result;
        END IF;
    END IF;
    UPDATE ledger.approvals p
    SET status = CASE WHEN is_approved THEN 'approved' ELSE 'rejected' END,
        decided_by = origin.operator_id, transaction_id = result.transaction_id
    WHERE p.id = approval.id RETURNING * INTO approval;
    INSERT INTO audit.log (created_at, actor_id, subject_id, action, request_id, address)
    VALUES (moment, origin.operator_id, approval.account_id, 'approval.' || approval.status,
            origin.request_id, origin.address);
    IF is_approved THEN
        RETURN result;
    END IF;
    result.outcome := 'completed';
    result.http_status := 200;
    result.answer := ledger.approval_object(approval);
    RETURN ledger.store_operator_result(result, origin, system_id, NULL, moment);
END
$$;

GRANT USAGE ON SCHEMA ledger TO finpay_operator;
GRANT EXECUTE ON FUNCTION
    ledger.deposit, ledger.complete_withdrawal, ledger.refund_transaction,
    ledger.reject_withdrawal, ledger.void_hold, ledger.decide_approval
TO finpay_operator;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
