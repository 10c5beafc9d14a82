"""Handlers of /api_keys. The password is asked for, and the code of a second factor, so that a
stolen session makes no keys.
"""

from finpay import ids
from finpay.edge import failed_logins
from finpay.edge.handlers.lists import id_before, limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas.identity import ApiKeyList, api_key
from finpay.edge.schemas.responses import encode
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError, validation_failed
from finpay.identity.api_keys import MAX_PER_USER


async def create(services: Services, context: Context) -> Response:
    """201 with the secret, which nothing shows again."""
    identity, user_id, origin = services.identity, context.caller.user_id, context.origin
    command, spec = context.command
    user = await identity.me(user_id)
    async with failed_logins.counted(services, context, user.email):
        await identity.check_password(user_id, command.password, origin)
        await identity.second_factor.require(user_id, command.code, origin)
    made = await identity.api_keys.create(user_id, spec, origin)
    if made is None:
        raise validation_failed(
            f"You have {MAX_PER_USER} API keys, the most that one user may have. Delete one."
        )
    return Response(201, encode(api_key(*made)))


async def list_(services: Services, context: Context) -> Response:
    rows = await services.identity.api_keys.list_(
        context.caller.user_id,
        before=id_before(context),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        ApiKeyList,
        rows,
        resource=api_key,
        codec=pagination.API_KEYS,
        position=lambda row: pagination.uuid_to_position(row.id),
    )


async def delete(services: Services, context: Context) -> Response:
    """The key is refused by every process from now on."""
    absent = FinPayError(Code.NOT_FOUND, "You have no API key with this id.")
    key_id, caller = context.path_uuid("key", absent), context.caller
    if not await services.identity.api_keys.revoke(key_id, caller.user_id, context.origin):
        raise absent
    await services.gate.end_sessions(caller.user, [ids.encode("key", key_id)])
    return Response(204, content_type=None)
