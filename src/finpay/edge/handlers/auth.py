"""Handlers of /auth: users, tokens, sessions."""

from finpay import ids
from finpay.edge.request.model import Context, Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.identity import resources
from finpay.identity.errors import refresh_token_reused
from finpay.identity.models import RefreshTokenReuse, RequestOrigin


async def register(services: Services, call: Context) -> Response:
    command = call.command
    logged_in = await services.identity.register(
        command.email, command.password, command.name, command.currency, _origin(call)
    )
    return Response(201, responses.encode(responses.logged_in(logged_in)))


async def login(services: Services, call: Context) -> Response:
    logged_in = await services.identity.login(
        call.command.email, call.command.password, _origin(call)
    )
    return Response(200, responses.encode(responses.logged_in(logged_in)))


async def refresh(services: Services, call: Context) -> Response:
    outcome = await services.identity.refresh(call.command.refresh_token, _origin(call))
    if isinstance(outcome, RefreshTokenReuse):
        user = ids.encode("usr", outcome.user_id)
        await services.gate.end_sessions(user, responses.session_ids([outcome.session_id]))
        raise refresh_token_reused()
    return Response(200, responses.encode(responses.tokens(outcome)))


async def logout(services: Services, call: Context) -> Response:
    await services.identity.logout(call.caller, _origin(call))
    await services.gate.end_sessions(call.caller.user, [call.caller.session])
    return Response(204, content_type=None)


async def change_password(services: Services, call: Context) -> Response:
    command = call.command
    ended = await services.identity.change_password(
        call.caller, command.current_password, command.new_password, _origin(call)
    )
    await services.gate.end_sessions(call.caller.user, responses.session_ids(ended))
    return Response(204, content_type=None)


async def me(services: Services, call: Context) -> Response:
    user = await services.identity.me(call.caller.user_id)
    return Response(200, responses.encode(resources.user(user)))


def _origin(call: Context) -> RequestOrigin:
    return RequestOrigin(call.request_id, call.address)
