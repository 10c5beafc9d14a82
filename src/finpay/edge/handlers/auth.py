"""Handlers of /auth: users, tokens, sessions."""

import asyncio
from functools import partial
from typing import Final
from uuid import UUID

from finpay import ids
from finpay.db.pool import Executor
from finpay.edge import failed_logins
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.identity import resources
from finpay.identity.errors import refresh_token_reused
from finpay.identity.models import RefreshTokenReuse
from finpay.ledger import schedules
from finpay.ledger.changes import ChangeOrigin
from finpay.webhooks import endpoints

# Longer than the work for a registered address, which writes one row more than for another.
FORGOT_ANSWER_S: Final = 0.1


async def register(services: Services, context: Context) -> Response:
    command = context.command
    login = await services.identity.register(
        command.email, command.password, command.name, command.currency, context.origin
    )
    return Response(201, responses.encode(responses.login_result(login)))


async def login(services: Services, context: Context) -> Response:
    result = await services.identity.login(
        context.command.email, context.command.password, context.origin
    )
    return Response(200, responses.encode(responses.login_result(result)))


async def refresh(services: Services, context: Context) -> Response:
    result = await services.identity.sessions.refresh(context.command.refresh_token, context.origin)
    if isinstance(result, RefreshTokenReuse):
        user = ids.encode("usr", result.user_id)
        await services.gate.end_sessions(user, responses.session_ids([result.session_id]))
        raise refresh_token_reused()
    return Response(200, responses.encode(responses.token_pair(result)))


async def logout(services: Services, context: Context) -> Response:
    caller = context.caller
    await services.identity.sessions.revoke(
        caller.session_id, caller.user_id, "logout", context.origin
    )
    await services.gate.end_sessions(context.caller.user, [context.caller.session])
    return Response(204, content_type=None)


async def change_password(services: Services, context: Context) -> Response:
    identity, command, caller = services.identity, context.command, context.caller
    user = await identity.me(caller.user_id)
    async with failed_logins.counted(services, context, user.email):
        changed = await identity.change_password(
            caller, command.current_password, command.new_password, context.origin
        )
    await services.gate.end_sessions(context.caller.user, responses.session_ids(changed.revoked))
    return Response(200, responses.encode(responses.token_pair(changed.tokens)))


async def forgot_password(services: Services, context: Context) -> Response:
    """The same answer, at the same time, whether or not there is such a user."""
    await asyncio.gather(
        services.identity.password_reset.request(context.command.email, context.origin),
        asyncio.sleep(FORGOT_ANSWER_S),
    )
    return Response(202, content_type=None)


async def reset_password(services: Services, context: Context) -> Response:
    command = context.command
    ended = await services.identity.password_reset.redeem(
        command.token, command.new_password, context.origin, partial(_end_access, context)
    )
    keys = [ids.encode("key", key) for key in ended.keys]
    user = ids.encode("usr", ended.user_id)
    await services.gate.end_sessions(user, responses.session_ids(ended.sessions) + keys)
    return Response(204, content_type=None)


async def _end_access(context: Context, transaction: Executor, user_id: UUID) -> None:
    """Deletes webhook endpoints, then cancels schedules, which locks the account."""
    await endpoints.delete_all(transaction, user_id)
    origin = ChangeOrigin(user_id, context.request_id, context.client_ip)
    await schedules.cancel_all(transaction, origin)


async def update_user(services: Services, context: Context) -> Response:
    user = await services.identity.rename(
        context.caller.user_id, context.command.name, context.origin
    )
    return Response(200, responses.encode(resources.user(user)))


async def retrieve_user(services: Services, context: Context) -> Response:
    user = await services.identity.me(context.caller.user_id)
    return Response(200, responses.encode(resources.user(user)))
