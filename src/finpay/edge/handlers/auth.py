"""Handlers of /auth: users, tokens, sessions."""

from finpay import ids
from finpay.edge.request.model import Call, Reply
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.identity import resources
from finpay.identity.errors import refresh_token_reused
from finpay.identity.models import Reused
from finpay.identity.origin import Origin


async def register(services: Services, call: Call) -> Reply:
    command = call.command
    logged_in = await services.identity.register(
        command.email, command.password, command.name, command.currency, _origin(call)
    )
    return Reply(201, responses.encode(responses.logged_in(logged_in)))


async def login(services: Services, call: Call) -> Reply:
    logged_in = await services.identity.login(
        call.command.email, call.command.password, _origin(call)
    )
    return Reply(200, responses.encode(responses.logged_in(logged_in)))


async def refresh(services: Services, call: Call) -> Reply:
    outcome = await services.identity.refresh(call.command.refresh_token, _origin(call))
    if isinstance(outcome, Reused):
        user = ids.encode("usr", outcome.user_id)
        await services.gate.end_sessions(user, responses.session_ids([outcome.session_id]))
        raise refresh_token_reused()
    return Reply(200, responses.encode(responses.tokens(outcome)))


async def logout(services: Services, call: Call) -> Reply:
    await services.identity.logout(call.caller, _origin(call))
    await services.gate.end_sessions(call.caller.user, [call.caller.session])
    return Reply(204, content_type=None)


async def change_password(services: Services, call: Call) -> Reply:
    command = call.command
    ended = await services.identity.change_password(
        call.caller, command.current_password, command.new_password, _origin(call)
    )
    await services.gate.end_sessions(call.caller.user, responses.session_ids(ended))
    return Reply(204, content_type=None)


async def me(services: Services, call: Call) -> Reply:
    user = await services.identity.me(call.caller.user_id)
    return Reply(200, responses.encode(resources.user(user)))


def _origin(call: Call) -> Origin:
    return Origin(call.request_id, call.address)
