"""Handlers of what operators do: deposits, withdrawals, refunds, freezing, limits, approvals.

The ledger decides, and stores the response with the key.
"""

from collections.abc import Awaitable, Sequence
from typing import Final
from uuid import UUID

import msgspec

from finpay import ids
from finpay.db.pool import Database, UniqueViolation
from finpay.edge.handlers import changes
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import problems
from finpay.edge.schemas.responses import session_ids
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError, unavailable
from finpay.gate.gate import Completion
from finpay.identity import operator_sessions
from finpay.ids import Prefix
from finpay.ledger import operator_actions as actions
from finpay.ledger.operator_actions import CommandOrigin, CommandResult, NewDeposit
from finpay.ledger.outcome import OPERATOR_REFUSALS, Outcome
from finpay.operators import accounts

_NO_ACCOUNT: Final = UUID(int=0)  # the ledger refuses it as every unknown account
_REFUSALS: Final = problems.templates_of(OPERATOR_REFUSALS)


def no_operators() -> FinPayError:
    """404: this deployment has no routes that need the role finpay_operator."""
    return FinPayError(
        Code.NOT_FOUND,
        "This server has no operator routes, as FINPAY_DATABASE_OPERATOR_URL is not set. "
        "Use the command line.",
    )


async def deposit(services: Services, context: Context) -> Response:
    command, account_id = context.command, context.command.account_id
    if account_id is None:
        account_id = await accounts.id_by_email(services.database, command.email) or _NO_ACCOUNT
    new = NewDeposit(account_id, command.amount, command.reference, command.description)
    return await _done(services, context, actions.deposit(*_call(services, context), new))


async def complete_withdrawal(services: Services, context: Context) -> Response:
    target, reference = _target(context, "wdr"), context.command.reference
    command = actions.complete_withdrawal(*_call(services, context), target, reference)
    return await _done(services, context, command)


async def reject_withdrawal(services: Services, context: Context) -> Response:
    target, reason = _target(context, "wdr"), context.command.reason
    command = actions.reject_withdrawal(*_call(services, context), target, reason)
    return await _done(services, context, command)


async def refund(services: Services, context: Context) -> Response:
    target, wanted = _target(context, "txn"), context.command
    command = actions.refund(*_call(services, context), target, wanted.amount, wanted.description)
    return await _done(services, context, command)


async def void_hold(services: Services, context: Context) -> Response:
    target = _target(context, "hld")
    return await _done(services, context, actions.void_hold(*_call(services, context), target))


async def approve(services: Services, context: Context) -> Response:
    """The response is that of the action."""
    return await _decide(services, context, approve=True)


async def reject_approval(services: Services, context: Context) -> Response:
    return await _decide(services, context, approve=False)


async def freeze(services: Services, context: Context) -> Response:
    return await _set_status(services, context, "frozen")


async def unfreeze(services: Services, context: Context) -> Response:
    return await _set_status(services, context, "active")


async def set_limits(services: Services, context: Context) -> Response:
    target = _target(context, "acc")
    command = actions.set_limits(*_call(services, context), target, context.command)
    return await _done(services, context, command)


async def end_sessions(services: Services, context: Context) -> Response:
    """The user has to log in again, on every process."""
    user_id = _other_user(context)
    ended = await operator_sessions.end_all(
        services.database, user_id, context.caller.user_id, context.command.reason, context.origin
    )
    return await _ended(services, user_id, ended)


async def reset_second_factor(services: Services, context: Context) -> Response:
    """For a user who has lost it. The user logs in with the password alone, and gets a mail."""
    user_id = _other_user(context)
    ended = await services.identity.second_factor.reset(
        user_id, context.caller.user_id, context.command.reason, context.origin
    )
    return await _ended(services, user_id, ended)


def _other_user(context: Context) -> UUID:
    """The user of the path. 403 for oneself."""
    user_id = _target(context, "usr")
    if user_id == context.caller.user_id:
        raise FinPayError(*OPERATOR_REFUSALS[Outcome.FORBIDDEN])
    return user_id


async def _ended(services: Services, user_id: UUID, ended: Sequence[UUID] | None) -> Response:
    """204 once the sessions have ended on every process; 404 if there is no such user."""
    if ended is None:
        raise _absent()
    await services.gate.end_sessions(ids.encode("usr", user_id), session_ids(ended))
    return Response(204, content_type=None)


async def _decide(services: Services, context: Context, *, approve: bool) -> Response:
    target = _target(context, "apr")
    command = actions.decide_approval(*_call(services, context), target, approve=approve)
    return await _done(services, context, command)


async def _set_status(services: Services, context: Context, status: str) -> Response:
    target, reason = _target(context, "acc"), context.command.reason
    command = actions.set_status(*_call(services, context), target, status, reason)
    return await _done(services, context, command)


async def _done(
    services: Services, context: Context, command: Awaitable[CommandResult]
) -> Response:
    """The stored response. Without a key of the client it has none in Redis."""
    try:
        result = await command
    except UniqueViolation:  # another request of the operator took the key in the same moment
        raise unavailable(
            "Another request is using this idempotency key. Retry with the same key."
        ) from None
    if result.outcome is Outcome.COMPLETED:
        services.notifier.notify()
    response = changes.stored(context, result, receivers=result.users)
    if not context.key:
        response.completion = Completion(receivers=[ids.encode("usr", u) for u in result.users])
    return response


def _call(services: Services, context: Context) -> tuple[Database, CommandOrigin]:
    """The operators' database and who commands. A route without a key has one of its own."""
    assert services.operators is not None  # noqa: S101  the pipeline refused the request
    above = msgspec.json.encode(dict(services.settings.approval_above)).decode()
    origin = CommandOrigin(
        context.caller.user_id,
        context.key or f"request:{ids.new_uuid()}",
        context.fingerprint or b"-",
        context.request_id,
        context.client_ip,
        above,
        _REFUSALS,
    )
    return services.operators, origin


def _target(context: Context, prefix: Prefix) -> UUID:
    return context.path_uuid(prefix, _absent())


def _absent() -> FinPayError:
    return FinPayError(*OPERATOR_REFUSALS[Outcome.NOT_FOUND])
