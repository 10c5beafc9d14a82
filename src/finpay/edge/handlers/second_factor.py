"""Handlers of the second factor: set up, confirm, disable, and the second step of a login."""

from finpay.edge import failed_logins
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import identity, responses
from finpay.edge.services import Services


async def create(services: Services, context: Context) -> Response:
    """The secret, which nothing shows again. Logins need no code before it is confirmed."""
    user_id, email = context.caller.user_id, await _email(services, context)
    async with failed_logins.counted(services, context, email):
        await services.identity.check_password(user_id, context.command.password, context.origin)
    enrolment = await services.identity.second_factor.enrol(user_id, email)
    shown = identity.SecondFactor(enrolment.secret, enrolment.otpauth_url)
    return Response(200, responses.encode(shown))


async def confirm(services: Services, context: Context) -> Response:
    """The recovery codes, once. This session goes on, the others have ended."""
    caller = context.caller
    async with failed_logins.counted(services, context, await _email(services, context)):
        codes, ended = await services.identity.second_factor.confirm(
            caller, context.command.code, context.origin
        )
    await services.gate.end_sessions(caller.user, responses.session_ids(ended))
    return Response(200, responses.encode(identity.RecoveryCodes(codes)))


async def disable(services: Services, context: Context) -> Response:
    """All sessions end: the access tokens of this one say that there is a second factor."""
    caller, command = context.caller, context.command
    async with failed_logins.counted(services, context, await _email(services, context)):
        await services.identity.check_password(caller.user_id, command.password, context.origin)
        ended = await services.identity.second_factor.disable(
            caller.user_id, command.code, context.origin
        )
    await services.gate.end_sessions(caller.user, responses.session_ids(ended))
    return Response(204, content_type=None)


async def complete_login(services: Services, context: Context) -> Response:
    challenge = await services.identity.second_factor.find_challenge(context.command.challenge)
    async with failed_logins.counted(services, context, challenge.email):
        login = await services.identity.complete_login(
            challenge, context.command.code, context.origin
        )
    await failed_logins.forget(services, context, challenge.email)
    return Response(200, responses.encode(responses.login_result(login)))


async def _email(services: Services, context: Context) -> str:
    return (await services.identity.me(context.caller.user_id)).email
