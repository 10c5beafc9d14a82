-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- Decides a commit batch, item by item in the order of the input, each on the balances that the
-- items before it left. Request q owns the next sizes[q] items. A refused item changes nothing for
-- its neighbours; a refused item of an atomic batch reverts the items of its batch before it, and
-- those after it are not tried. `stored` are the outcomes of requests whose keys were answered
-- before, null for the others. Senders and receivers are positions in the accounts; a receiver may
-- be null. The sender is who acts: for a capture, a void and a refund the receiver of the target.
--
-- A completed item moves money from the payer p to the receiver r, or changes what p has on hold,
-- or both.
--
-- Each ROW is cast to its type: an assignment without a cast converts it to text and back.
CREATE FUNCTION ledger.decide_batch(
    -- Per account.
    users      uuid[],
    balances   bigint[],
    helds      bigint[],
    versions   bigint[],
    sequences  bigint[],
    own_currencies text[],
    frozen     boolean[],
    refused    ledger.outcome[],           -- why its owner may not move money; null: may
    limit_singles  bigint[],
    limit_dailies  bigint[],
    sents      bigint[],                   -- of the day of the decision
    pending_limits text[],                 -- JSON; null: none has a change of its limits pending
    resets_at  text,                       -- when the next day begins
    -- Per request.
    senders    integer[],
    modes      text[],
    sizes      integer[],
    stored     ledger.outcome[],
    targets    ledger.operation_target[],  -- null: there is none
    target_positions integer[],            -- of the first request with the same target; null
                                           -- instead of an array where all targets differ
    finals     boolean[],
    if_versions bigint[],
    if_balances bigint[],
    -- Per item.
    ids        uuid[],
    receivers  integer[],
    amounts    bigint[],
    currencies text[]
) RETURNS ledger.decisions
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    max_sent      CONSTANT bigint := 4611686018427387903;  -- far above every limit
    request_count CONSTANT integer := cardinality(sizes);
    item_count    CONSTANT integer := cardinality(amounts);
    -- Lengths are set once, so that elements can be assigned in any order.
    outcomes           ledger.outcome[] := stored;
    sender_sequences   bigint[] := array_fill(NULL::bigint, ARRAY[request_count]);
    ranges             ledger.history_range[] :=
        array_fill(NULL::ledger.history_range, ARRAY[request_count]);
    items              ledger.decided_item[] :=
        array_fill(NULL::ledger.decided_item, ARRAY[item_count]);
    item_outcomes      ledger.outcome[] := array_fill(NULL::ledger.outcome, ARRAY[item_count]);
    receiver_users     uuid[] := array_fill(NULL::uuid, ARRAY[item_count]);
    receiver_sequences bigint[] := array_fill(NULL::bigint, ARRAY[item_count]);
    members            text[] := array_fill(NULL::text, ARRAY[item_count]);
    operations         ledger.decided_operation[] := '{}';
    first   integer;
    last    integer := 0;
    s       integer;  -- who acts
    p       integer;  -- whose money moves or is held
    r       integer;  -- whom it moves to or is held for
    o       integer;  -- the other party
    t       integer;  -- the first request with the same target
    target  ledger.operation_target;
    effect  ledger.operation_effect;
    mode    text;
    amount  bigint;
    is_transfer boolean;  -- one, or a transfer batch
    is_moving   boolean;
    outcome ledger.outcome;
    version_before  bigint;
    sequence_before bigint;
BEGIN
    FOR q IN 1 .. request_count LOOP
        first := last + 1;
        last  := last + sizes[q];
        CONTINUE WHEN stored[q] IS NOT NULL;
        s := senders[q];
        mode := modes[q];
        is_transfer := mode IN ('transfer', 'independent', 'atomic');
        version_before  := versions[s];
        sequence_before := sequences[s];
        FOR i IN first .. last LOOP
            p := s;
            r := receivers[i];
            amount := amounts[i];
            is_moving := is_transfer;
            IF is_transfer THEN
                outcome := ledger.transfer_outcome(
                    amount, currencies[i], s = r,
                    refused[s], own_currencies[s], balances[s] - helds[s],
                    frozen[r], own_currencies[r], balances[r],
                    COALESCE(versions[s] = if_versions[q], true)
                        AND COALESCE(balances[s] >= if_balances[q], true),
                    ledger.is_within_limits(amount, sents[s], limit_singles[s], limit_dailies[s]));
            ELSE
                t := target_positions[q];
                target := targets[COALESCE(t, q)];
                o := COALESCE(target.sender, r);
                effect := ledger.decide_operation(
                    mode, amount, currencies[i], finals[q], target, s = o,
                    refused[s], own_currencies[s], balances[s], balances[s] - helds[s],
                    frozen[o], own_currencies[o], balances[o],
                    COALESCE(versions[s] = if_versions[q], true)
                        AND COALESCE(balances[s] >= if_balances[q], true),
                    ledger.is_within_limits(COALESCE(amount, target.amount), sents[s],
                                            limit_singles[s], limit_dailies[s]));
                outcome := effect.outcome;
                amount := effect.amount;
                is_moving := effect.is_moving;
                p := CASE WHEN effect.is_paying THEN s ELSE o END;
                r := CASE WHEN effect.is_paying THEN NULLIF(o, s) ELSE s END;
                IF outcome = 'completed' THEN
                    helds[p] := helds[p] - effect.released;
                    IF effect.given_back < 0 OR target.is_of_today THEN
                        sents[p] := LEAST(GREATEST(sents[p] - effect.given_back, 0), max_sent);
                    END IF;
                END IF;
            END IF;

            item_outcomes[i] := outcome;
            IF outcome = 'completed' AND is_moving THEN
                balances[p]  := balances[p] - amount;
                versions[p]  := versions[p] + 1;
                sequences[p] := sequences[p] + 1;
                balances[r]  := balances[r] + amount;
                versions[r]  := versions[r] + 1;
                sequences[r] := sequences[r] + 1;
                items[i] := ROW(ids[i], amount, outcome, q, i - first, p, r,
                                sequences[p], versions[p], balances[p], helds[p],
                                sequences[r], versions[r], balances[r], helds[r]
                               )::ledger.decided_item;
                IF is_transfer THEN
                    sents[s] := LEAST(sents[s] + amount, max_sent);
                    receiver_users[i]     := users[r];
                    receiver_sequences[i] := sequences[r];
                END IF;
            ELSIF is_moving AND mode <> 'atomic' AND outcome = 'insufficient_funds' THEN
                sequences[s] := sequences[s] + 1;  -- a failed transaction takes no version
                items[i] := ROW(ids[i], amount, outcome, q, i - first, s, r,
                                sequences[s], versions[s], balances[s], helds[s],
                                NULL, NULL, NULL, NULL
                               )::ledger.decided_item;
            ELSE
                items[i] := ROW(ids[i], amount, outcome, q, i - first, p, r,
                                NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
                               )::ledger.decided_item;
                IF outcome <> 'completed' THEN
                    members[i] := ledger.refusal_members(
                        outcome, target.status, target.amount - target.taken, format(
                            '{"single":%s,"daily":%s,"sent_today":%s,"resets_at":"%s",'
                            '"pending":%s}',
                            COALESCE(limit_singles[s]::text, 'null'),
                            COALESCE(limit_dailies[s]::text, 'null'),
                            LEAST(sents[s], 9007199254740991), resets_at,
                            COALESCE(pending_limits[s], 'null')));
                END IF;
            END IF;

            IF NOT is_transfer AND outcome = 'completed' THEN
                -- The events about it come after that of the transaction.
                sequences[p] := sequences[p] + 1;
                IF r IS NOT NULL THEN
                    sequences[r] := sequences[r] + 1;
                END IF;
                o := CASE s WHEN p THEN r ELSE p END;
                receiver_users[i]     := users[o];
                receiver_sequences[i] := sequences[o];
                IF mode = 'refund' THEN  -- of the transaction that was refunded
                    o := p;
                    p := r;
                    r := o;
                END IF;
                operations := operations || ROW(
                    COALESCE(target.id, ids[i]), amount, q, i, mode, p, r,
                    effect.taken, effect.status, target.taken, target.amount - target.taken,
                    target.status, sequences[p], sequences[r])::ledger.decided_operation;
                IF t IS NOT NULL THEN
                    target.taken   := effect.taken;
                    target.status  := effect.status;
                    target.is_open := effect.status IN ('open', 'completed', 'reversed');
                    targets[t] := target;
                END IF;
            END IF;
            CONTINUE WHEN outcome = 'completed' OR mode <> 'atomic';

            FOR reverted IN REVERSE i - 1 .. first LOOP
                r := receivers[reverted];
                sents[s]     := sents[s] - amounts[reverted];
                balances[s]  := balances[s] + amounts[reverted];
                versions[s]  := versions[s] - 1;
                sequences[s] := sequences[s] - 1;
                balances[r]  := balances[r] - amounts[reverted];
                versions[r]  := versions[r] - 1;
                sequences[r] := sequences[r] - 1;
                items[reverted]              := NULL;
                item_outcomes[reverted]      := NULL;
                receiver_users[reverted]     := NULL;
                receiver_sequences[reverted] := NULL;
            END LOOP;
            EXIT;
        END LOOP;

        outcomes[q] := CASE WHEN mode = 'independent' THEN 'completed' ELSE outcome END;
        IF sequences[s] <> sequence_before THEN
            sender_sequences[q] := sequences[s];
        END IF;
        IF mode IN ('independent', 'atomic') THEN
            ranges[q] := ROW(version_before + 1, versions[s] + 1,
                             sequence_before + 1, sequences[s] + 1)::ledger.history_range;
        END IF;
    END LOOP;

    -- A duplicate may be the retry of a commit whose answer was lost: the sender's last sequence.
    FOR q IN 1 .. request_count LOOP
        IF stored[q] IS NOT NULL THEN
            sender_sequences[q] := sequences[senders[q]];
        END IF;
    END LOOP;
    RETURN ROW(outcomes, sender_sequences, ranges, items, item_outcomes, receiver_users,
               receiver_sequences, members, operations, balances, helds, versions, sequences,
               sents);
END
$$;

-- migrate:down
-- Only forward: a mistake is corrected by another migration.
