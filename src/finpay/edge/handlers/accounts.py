"""Handlers of /accounts."""

from finpay.edge.handlers.lists import limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.ledger import reads, resources


async def retrieve(services: Services, context: Context) -> Response:
    found = await _account(services, context)
    return Response(200, responses.encode(resources.account(found)), sequence=found.sequence)


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
