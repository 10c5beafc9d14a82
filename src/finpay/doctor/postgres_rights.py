"""PostgreSQL: what the app's role may do, and the logins of the app, the owner and operators."""

from typing import Final

from finpay.db.pool import AccessDenied, Database, Unavailable
from finpay.doctor.checks import CheckResult, failed, ok, production_error
from finpay.errors import cause_of
from finpay.settings import Settings

# Tables of the ledger that finpay_app may write without a function. There must be none.
_WRITABLE: Final = """
SELECT n.nspname || '.' || c.relname AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('ledger', 'audit', 'outbox') AND c.relkind IN ('r', 'p')
  AND (has_table_privilege('finpay_app', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
       OR has_any_column_privilege('finpay_app', c.oid, 'INSERT, UPDATE'))
ORDER BY name
"""
# Functions that PUBLIC may execute, and functions of operators that finpay_app may execute.
_CALLABLE: Final = """
SELECT p.oid::regprocedure::text AS name
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('identity', 'ledger', 'audit', 'outbox', 'webhooks')
  AND (EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
               WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
       OR (n.nspname = 'ledger' AND p.proname = ANY ($1)
           AND has_function_privilege('finpay_app', p.oid, 'EXECUTE')))
ORDER BY name
"""
_OF_OPERATORS: Final = (
    "change_status", "complete_withdrawal", "decide_approval", "deposit", "fund",
    "refund_transaction", "reject_withdrawal", "set_limits", "set_status", "void_hold",
)  # fmt: skip
_ROLES: Final = """
SELECT session_user AS login, l.rolsuper AS superuser,
       pg_has_role('finpay_app', 'finpay_owner', 'MEMBER') AS app_is_owner,
       pg_has_role('finpay_app', 'finpay_operator', 'MEMBER') AS app_is_operator,
       pg_has_role(session_user, 'finpay_operator', 'MEMBER') AS may_operate,
       pg_has_role(session_user, 'finpay_owner', 'MEMBER') AS may_own
FROM pg_roles l WHERE l.rolname = session_user
"""


async def check(database: Database, settings: Settings) -> list[CheckResult]:
    """The rights of finpay_app, and those of its login."""
    return [await _rights(database), await _login(database, settings)]


async def check_logins(settings: Settings) -> list[CheckResult]:
    """The other logins can connect."""
    return [await _owner(settings), await _operators(settings)]


async def _rights(database: Database) -> CheckResult:
    tables = [row["name"] for row in await database.fetch(_WRITABLE)]
    functions = [row["name"] for row in await database.fetch(_CALLABLE, _OF_OPERATORS)]
    if not tables and not functions:
        return ok("rights", "finpay_app changes the ledger through its functions only")
    return failed(
        "rights",
        f"more rights than intended: {', '.join(tables + functions)}",
        "REVOKE them: stolen credentials of the app could change the ledger.",
    )


async def _login(database: Database, settings: Settings) -> CheckResult:
    row = await database.fetch_one(_ROLES)
    assert row is not None  # noqa: S101  we are logged in
    name = f"{row['login']}"
    if row["app_is_owner"]:
        return failed(
            "login",
            "finpay_app is a member of finpay_owner",
            "REVOKE finpay_owner FROM finpay_app: it could change its own rights.",
        )
    if row["app_is_operator"]:
        return failed(
            "login",
            "finpay_app is a member of finpay_operator",
            "REVOKE finpay_operator FROM finpay_app: it could make deposits.",
        )
    if row["superuser"] or row["may_own"] or row["may_operate"]:
        role = "finpay_owner" if row["may_own"] else "finpay_operator"
        what = "is a superuser" if row["superuser"] else f"may SET ROLE {role}"
        return production_error(
            "login",
            f"the app's login {name} {what}",
            "Give the app a login that is a member of finpay_app only.",
            production=settings.production and bool(settings.owner_url_setting),
        )
    return ok("login", f"{name} is a member of finpay_app only")


async def _owner(settings: Settings) -> CheckResult:
    """The owner's URL, which is used by migrations and operator commands only."""
    reason = await _refused(settings.owner_url, "finpay_owner")
    if reason is None:
        return ok("owner", "migrations and operator commands can connect")
    return failed(
        "owner",
        f"the owner's URL can't be used: {reason}",
        "Set FINPAY_DATABASE_OWNER_URL to a login that may SET ROLE finpay_owner.",
    )


async def _operators(settings: Settings) -> CheckResult:
    """The URL of the routes of operators, which are absent without it."""
    if settings.operator_url is None:
        return ok("operators", "no FINPAY_DATABASE_OPERATOR_URL: operators use the command line")
    reason = await _refused(settings.operator_url, "finpay_operator")
    if reason is None:
        return ok("operators", "the routes of operators can connect")
    return failed(
        "operators",
        f"FINPAY_DATABASE_OPERATOR_URL can't be used: {reason}",
        "Set it to a login that is a member of finpay_operator only.",
    )


async def _refused(url: str, role: str) -> str | None:
    """Why a login can't be used as a role; None if it can."""
    database = Database(url, size=1, role=role)
    try:
        await database.fetch_one("SELECT 1")
    except AccessDenied as denied:
        return denied.reason
    except Unavailable as error:
        return cause_of(error)
    finally:
        await database.close()
    return None
