-- name: post_transfers
SELECT outcomes::text[], http_statuses, answers, stored_prints, transaction_ids,
       sender_sequences, receiver_users, receiver_sequences
FROM ledger.post_transfers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
