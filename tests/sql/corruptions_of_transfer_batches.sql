-- Ways in which transfer batches can be wrong, as in corruptions.sql.

-- name: a_transfer_batch_is_gone
-- many: idempotency_keys, audit
DELETE FROM ledger.transfer_batches WHERE principal_id = :bob_user AND mode = 'independent';

-- name: the_key_of_a_transfer_batch_is_gone
-- bob_user: idempotency_keys, audit
DELETE FROM ledger.idempotency_keys k USING ledger.transfer_batches b
WHERE b.principal_id = :bob_user AND b.mode = 'independent' AND k.key = b.key;

-- name: a_transfer_batch_claims_the_transaction_before_it
-- many_last: idempotency_keys
UPDATE ledger.transfer_batches SET version_from = version_from - 1, version_to = version_to - 1,
                        sequence_from = sequence_from - 1, sequence_to = sequence_to - 1
WHERE principal_id = :bob_user AND mode = 'independent';

-- name: a_transfer_batch_forgets_its_last_transaction
-- whole_last: idempotency_keys
UPDATE ledger.transfer_batches
SET version_to = version_to - 1, sequence_to = sequence_to - 1, items = 1
WHERE principal_id = :bob_user AND mode = 'atomic' AND refused = 0;

-- name: a_transfer_batch_finds_other_entries
-- bob_user: idempotency_keys
UPDATE ledger.transfer_batches SET version_from = version_from + 1, version_to = version_to + 1
WHERE principal_id = :bob_user AND mode = 'independent';

-- name: a_transfer_batch_belongs_to_another
-- many: idempotency_keys, audit
UPDATE ledger.transfer_batches SET principal_id = :alice_user
WHERE principal_id = :bob_user AND mode = 'independent';

-- name: a_transfer_batch_is_of_another_moment
-- many: idempotency_keys
UPDATE ledger.transfer_batches SET created_at = created_at + interval '1 microsecond'
WHERE principal_id = :bob_user AND mode = 'independent';

-- name: a_transfer_batch_counts_more_refusals_than_were_returned
-- bob_user: audit
UPDATE ledger.transfer_batches SET refused = refused + 1, items = items + 1
WHERE principal_id = :bob_user AND mode = 'independent';

-- name: a_transfer_batch_answers_another_status
-- bob_user: idempotency_keys
UPDATE ledger.idempotency_keys k SET http_status = 200 FROM ledger.transfer_batches b
WHERE b.principal_id = :bob_user AND b.mode = 'atomic' AND b.refused = 0 AND k.key = b.key;

-- name: a_refused_transfer_batch_says_it_is_done
-- bob_user: idempotency_keys
UPDATE ledger.idempotency_keys k SET http_status = 201 FROM ledger.transfer_batches b
WHERE b.principal_id = :bob_user AND b.mode = 'atomic' AND b.refused = 1 AND k.key = b.key;

-- name: an_atomic_transfer_batch_has_a_failure
-- many_failed: idempotency_keys, audit
UPDATE ledger.idempotency_keys k SET http_status = 201 FROM ledger.transfer_batches b
WHERE b.principal_id = :bob_user AND b.mode = 'independent' AND k.key = b.key;
UPDATE ledger.transfer_batches SET mode = 'atomic', refused = 0, items = items - refused
WHERE principal_id = :bob_user AND mode = 'independent';

-- name: an_event_of_a_transfer_batch_names_another_key
-- many: idempotency_keys
UPDATE outbox.events SET idempotency_key = 'another'
WHERE account_id = :bob AND transaction_id = :many;

-- name: a_refused_item_has_no_audit_row
-- bob_user: audit
DELETE FROM audit.log WHERE action = 'transaction.refused' AND actor_id = :bob_user
                        AND detail ->> 'code' = 'same_account';
