-- Named queries of finpay.ledger.administration, run as finpay_owner.

-- name: get_account_by_id
SELECT id, public_id, currency FROM ledger.accounts WHERE id = $1 AND user_id IS NOT NULL

-- name: get_account_by_email
-- Where FinPay sends mails, an address is that of the user who has verified it.
SELECT a.id, a.public_id, a.currency
FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id
WHERE u.email = $1 AND identity.can_be_found(u.email_verified_at)

-- name: fund_account
SELECT outcome, answer FROM ledger.fund($1, $2, $3, $4, $5)

-- name: set_account_status
SELECT outcome, answer FROM ledger.set_status($1, $2, $3, $4, $5)
