-- name: post_transfers
SELECT outcomes::text[], http_statuses, answers, stored_prints, transaction_ids, sender_sequences,
       item_outcomes::text[], receiver_users, receiver_sequences, queued
FROM ledger.post_transfers(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
)
