"""Planted bugs of keys, sessions, second factors, forgotten passwords, operators and leaving."""

from typing import Final

from tests.mutants.mutant import Mutant

_MIGRATIONS: Final = "src/finpay/db/migrations/20261129"
_IDENTITY: Final = "src/finpay/identity"
ACTIONS: Final = f"{_MIGRATIONS}000022_ledger_operator_actions.sql"
COMMANDS: Final = f"{_MIGRATIONS}000023_ledger_operator_commands.sql"
LIMIT_CHANGES: Final = f"{_MIGRATIONS}000024_ledger_limit_changes.sql"
CLOSING: Final = f"{_MIGRATIONS}000072_account_closing.sql"
RIGHTS: Final = f"{_MIGRATIONS}000099_rights.sql"
USERS_SQL: Final = f"{_IDENTITY}/queries.sql"
KEYS: Final = f"{_IDENTITY}/api_keys.py"
KEYS_SQL: Final = f"{_IDENTITY}/api_keys.sql"
FACTOR: Final = f"{_IDENTITY}/second_factor.py"
FACTOR_SQL: Final = f"{_IDENTITY}/second_factor.sql"
RESET: Final = f"{_IDENTITY}/password_reset.py"
RESET_SQL: Final = f"{_IDENTITY}/password_reset.sql"
LEAVING_SQL: Final = f"{_IDENTITY}/leaving.sql"
AUTHENTICATION: Final = "src/finpay/edge/authentication.py"
KEYS_HANDLER: Final = "src/finpay/edge/handlers/api_keys.py"
FAILED_LOGINS: Final = "src/finpay/edge/failed_logins.py"

KEY_TESTS: Final = "tests/api/test_api_keys.py"
FACTOR_TESTS: Final = "tests/api/test_second_factor.py"
TOKEN_TESTS: Final = "tests/delivery/test_reset_tokens.py"
MAIL_TESTS: Final = "tests/delivery/test_mail.py"
LEAVING_TESTS: Final = "tests/api/test_leaving.py"
RACE_TESTS: Final = "tests/api/test_leaving_races.py"
APPROVAL_TESTS: Final = "tests/api/test_approvals.py"

IDENTITY_MUTANTS: Final = (
    # API keys.
    Mutant("a deleted key works after a flush", KEYS_SQL,
           "WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL\n  AND (expires_at",
           "WHERE id = $1 AND user_id = $2\n  AND (expires_at", KEY_TESTS),
    Mutant("a key of another user is deleted", KEYS_SQL,
           "WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL RETURNING id",
           "WHERE id = $1 AND revoked_at IS NULL RETURNING id", KEY_TESTS),
    Mutant("an expired key works", KEYS, "if time.time() >= self.principal.expires_at:",
           "if False:", KEY_TESTS),
    Mutant("a key works from every network", KEYS,
           "if self.networks and not _is_inside(address, self.networks):", "if False:", KEY_TESTS),
    Mutant("51 keys", KEYS_SQL, "AND revoked_at IS NULL) < $9", "AND revoked_at IS NULL) <= $9",
           KEY_TESTS),
    Mutant("a deleted key is active where it was used", KEYS_HANDLER,
           'await services.gate.end_sessions(caller.user, [ids.encode("key", key_id)])', "pass",
           KEY_TESTS),
    Mutant("a key needs no scope", AUTHENTICATION,
           'if scope == "any" or scope in principal.scopes:', "if scope is not None:",
           "tests/api/test_authorisation_matrix.py"),
    Mutant("unknown keys don't count", AUTHENTICATION,
           "record.decision = await self._gate.admit_anonymous(tiers)", "pass", KEY_TESTS),
    # Sessions.
    Mutant("a session of another user is ended", USERS_SQL,
           "WHERE id = $1 AND user_id = $2 AND ended_at IS NULL RETURNING id",
           "WHERE id = $1 AND ended_at IS NULL RETURNING id", "tests/api/test_session_list.py"),
    Mutant("a session is active for ever", USERS_SQL,
           "WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL "
           "AND s.expires_at > clock_timestamp()\n\n-- name: record_first_use",
           "WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL\n\n"
           "-- name: record_first_use", "tests/sql/test_sessions.py"),
    # The second factor.
    Mutant("a code works twice", FACTOR_SQL, "AND last_step < $2", "AND last_step <= $2",
           FACTOR_TESTS),
    Mutant("a recovery code works twice", FACTOR_SQL,
           "WHERE user_id = $1 AND hash = $2 AND used_at IS NULL RETURNING user_id",
           "WHERE user_id = $1 AND hash = $2 RETURNING user_id", FACTOR_TESTS),
    Mutant("a challenge has no end of failures", FACTOR_SQL,
           "AND failures < $2 FOR UPDATE", "AND $2 > 0 FOR UPDATE",
           "tests/sql/test_second_factor.py"),
    Mutant("a challenge opens two sessions", FACTOR,
           "await transaction.execute(_SQL.delete_challenge, challenge.hash)", "pass",
           FACTOR_TESTS),
    Mutant("a login needs no code", USERS_SQL, "AND second_factor = $10 FOR", "FOR",
           "tests/sql/test_second_factor.py"),
    Mutant("wrong codes don't count", FAILED_LOGINS, "Code.SECOND_FACTOR_INVALID})", "})",
           "tests/api/test_failed_logins.py"),
    # Forgotten passwords.
    Mutant("a token works twice", RESET, "if locked is None or used is None:",
           "if locked is None:", MAIL_TESTS),
    Mutant("a token outlives a new password", RESET,
           "await transaction.execute(_SQL.delete_reset_tokens, user_id)", "pass", TOKEN_TESTS),
    Mutant("a waiting mail outlives a new password", RESET,
           "await transaction.execute(_SQL.cancel_reset_mails, user_id)", "pass", TOKEN_TESTS),
    Mutant("mails are counted without a lock", RESET_SQL, "WHERE email = $1 FOR NO KEY UPDATE",
           "WHERE email = $1", TOKEN_TESTS),
    # Roles and operators.
    Mutant("the app makes operators", RIGHTS, "UPDATE (email, name, password_hash,",
           "UPDATE (role, email, name, password_hash,", "tests/sql/test_roles.py"),
    Mutant("a role needs no second factor", AUTHENTICATION,
           "if second_factor and not principal.factor:", "if False:",
           "tests/unit/test_authorise.py"),
    Mutant("an operator serves himself", ACTIONS,
           "OR origin.operator_id IN (sender.user_id, receiver.user_id) THEN 'forbidden'",
           "THEN 'forbidden'", "tests/api/test_operator_money.py"),
    Mutant("who is no operator acts", ACTIONS, "WHEN NOT ledger.is_operator(origin.operator_id)",
           "WHEN NOT true", "tests/api/test_authorisation_matrix.py"),
    Mutant("the amount itself waits for a second operator", ACTIONS,
           "AND amount > (origin.approval_above", "AND amount >= (origin.approval_above",
           APPROVAL_TESTS),
    Mutant("who asked approves", COMMANDS, "(origin.operator_id = approval.requested_by\n",
           "(false\n", APPROVAL_TESTS),
    Mutant("who asked is no operator any more", COMMANDS,
           "OR NOT ledger.is_operator(approval.requested_by)))", "))", APPROVAL_TESTS),
    Mutant("the owner of the money approves", COMMANDS, "AND a.user_id = origin.operator_id)",
           "AND false)", APPROVAL_TESTS),
    Mutant("an approval waits for ever", COMMANDS, "AND approval.expires_at <= moment", "AND false",
           APPROVAL_TESTS),
    Mutant("a closed account gets limits", LIMIT_CHANGES, "IF account.status = 'closed' THEN",
           "IF false THEN", RACE_TESTS),
    # Leaving.
    Mutant("an account with money closes", CLOSING,
           "WHEN balance <> 0 OR holds + withdrawals + approvals > 0",
           "WHEN holds + withdrawals + approvals > 0", LEAVING_TESTS),
    Mutant("an approval does not stop a closing", CLOSING, "holds + withdrawals + approvals > 0",
           "holds + withdrawals > 0", LEAVING_TESTS),
    Mutant("a frozen account closes", CLOSING,
           "WHEN account.status = 'frozen' THEN 'account_frozen'",
           "WHEN false THEN 'account_frozen'", LEAVING_TESTS),
    Mutant("keys outlive an account", LEAVING_SQL, "SET revoked_at = COALESCE(revoked_at, "
           "clock_timestamp()), name", "SET name", LEAVING_TESTS),
    Mutant("who waits while a user leaves goes on", USERS_SQL,
           "WHERE id = $1 AND password_hash IS NOT NULL FOR NO KEY UPDATE",
           "WHERE id = $1 FOR NO KEY UPDATE", RACE_TESTS),
    Mutant("raised limits outlive an account", CLOSING,
           "SET pending_single = NULL, pending_daily = NULL, effective_at = NULL\n",
           "SET pending_single = NULL\n", RACE_TESTS),
)  # fmt: skip
