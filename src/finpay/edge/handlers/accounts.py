"""Handlers of /accounts: the caller's account and its entries."""

from finpay.edge.request import query_params
from finpay.edge.request.model import Context, Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.ledger import reads, resources


async def account(services: Services, call: Context) -> Response:
    found = await _account(services, call)
    return Response(200, responses.encode(resources.account(found)), sequence=found.sequence)


async def entries(services: Services, call: Context) -> Response:
    parameters = call.parameters
    limit = parameters.get("limit", query_params.DEFAULT_LIMIT)
    owner = call.caller.account_id
    (before,) = parameters.get("cursor", (None,))
    found = await _account(services, call)
    rows = await reads.entries(
        services.database,
        owner,
        before_version=before,
        created_from=parameters.get("created_from"),
        created_to=parameters.get("created_to"),
        limit=limit + 1,
    )
    page = rows[:limit]
    more = len(rows) > limit
    cursor = query_params.ENTRIES.write(owner, page[-1].version) if more else None
    body = responses.page(
        responses.EntryList, [responses.entry(row, found.currency) for row in page], cursor
    )
    return Response(200, body, headers=query_params.link(call.path, call.query, cursor))


async def _account(services: Services, call: Context) -> reads.Account:
    found = await services.reader.account(call.caller.user_id)
    if found is None:
        raise no_account()
    return found


def no_account() -> FinPayError:
    """A session that outlived its account, as after a lossy failover."""
    return FinPayError(Code.NOT_FOUND, "This user has no account.")
