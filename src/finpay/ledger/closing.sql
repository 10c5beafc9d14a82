-- Named queries of finpay.ledger.closing.

-- name: end_account
SELECT fault, balance, holds, withdrawals, approvals
FROM ledger.close_account(ROW($1, $2, $3, NULL, NULL)::ledger.change_origin, $4)

-- name: delete_answers
SELECT ledger.erase_closed_account($1) AS erased
