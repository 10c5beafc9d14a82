"""Handlers of /accounts."""

from msgspec import UNSET

from finpay.edge.handlers.lists import limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses
from finpay.edge.schemas.money_requests import LimitsChange
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError, validation_failed
from finpay.gate.gate import Completion
from finpay.identity.errors import unauthenticated
from finpay.ledger import limits, reads, resources


async def retrieve(services: Services, context: Context) -> Response:
    found = await _account(services, context)
    # The expiry of a hold releases money without a write of its owner: such reads aren't cached.
    sequence = None if found.held else found.sequence
    return Response(200, responses.encode(resources.account(found)), sequence=sequence)


async def update(services: Services, context: Context) -> Response:
    """Changes the limits. 422 for one above what the operator allows."""
    wanted: LimitsChange = context.command
    single, daily = wanted.single, wanted.daily
    found = await limits.change(
        services.database,
        limits.Change(
            user_id=context.caller.user_id,
            request_id=context.request_id,
            address=context.client_ip,
            has_single=single is not UNSET,
            single=None if single is UNSET else single,
            has_daily=daily is not UNSET,
            daily=None if daily is UNSET else daily,
        ),
    )
    if found == "account_closed":
        raise unauthenticated("The account was closed.")
    if isinstance(found, str):
        raise validation_failed(
            "A limit is above what is allowed for this account.", pointer="#/limits"
        )
    body = responses.encode(resources.account(found))
    return Response(200, body, completion=Completion())


async def list_entries(services: Services, context: Context) -> Response:
    parameters = context.parameters
    (before,) = parameters.get("cursor", (None,))
    found = await _account(services, context)
    rows = await reads.entries(
        services.database,
        context.caller.account_id,
        before_version=before,
        created_from=parameters.get("created_from"),
        created_to=parameters.get("created_to"),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        responses.EntryList,
        rows,
        resource=lambda row: responses.entry(row, found.currency),
        codec=pagination.ENTRIES,
        position=lambda row: (row.version,),
    )


async def _account(services: Services, context: Context) -> reads.Account:
    found = await services.reads.account(context.caller.user_id)
    if found is None:
        raise no_account()
    return found


def no_account() -> FinPayError:
    """404: the session is active but its account is gone, as after a failover that lost commits."""
    return FinPayError(Code.NOT_FOUND, "This user has no account.")
