"""Handlers of /auth/email: verification that the user reads mails to the address."""

from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.services import Services


async def request_verification(services: Services, context: Context) -> Response:
    """202 also if the address is verified, or a third mail within an hour was sent."""
    await services.identity.email_verification.request(context.caller.user_id, context.origin)
    return Response(202, content_type=None)


async def verify(services: Services, context: Context) -> Response:
    await services.identity.email_verification.redeem(context.command.token, context.origin)
    return Response(204, content_type=None)
