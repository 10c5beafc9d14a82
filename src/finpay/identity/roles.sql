-- Named queries of finpay.identity.roles, run as finpay_owner.

-- name: lock_user_by_email
-- A login locks the same row, so it sees the new role or its session is among the revoked.
-- No row for a user who has left. Where FinPay sends mails, none gets the role $2 for an address
-- that they have not verified: another person may have registered it.
SELECT id, role FROM identity.users
WHERE email = $1 AND password_hash IS NOT NULL
  AND ($2 = 'user' OR identity.can_be_found(email_verified_at)) FOR NO KEY UPDATE

-- name: set_user_role
UPDATE identity.users SET role = $2 WHERE id = $1

-- name: insert_audit_row
-- By the owner: finpay_app may not record this action. $2 and $3: the roles before and after.
INSERT INTO audit.log (created_at, subject_id, action, detail)
VALUES (clock_timestamp(), $1, 'role.changed',
        json_build_object('previous', $2::text, 'role', $3::text))
