"""Closing an account, and the export of a person's data."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Raw, Struct

from finpay import ids
from finpay.db.pool import Transaction
from finpay.edge import failed_logins
from finpay.edge.handlers import (
    accounts,
    api_keys,
    holds,
    payment_requests,
    schedules,
    sessions,
    transactions,
    webhook_endpoints,
    withdrawals,
)
from finpay.edge.handlers.changes import origin_of
from finpay.edge.rate_limiting import charge
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.request.pagination import CursorCodec
from finpay.edge.response import Response
from finpay.edge.router import Handler
from finpay.edge.schemas.problems import OpenItems
from finpay.edge.schemas.responses import encode, session_ids
from finpay.edge.services import Services
from finpay.edge.streaming import started
from finpay.errors import Code, FinPayError
from finpay.formats import format_timestamp
from finpay.gate.gate import Completion
from finpay.identity import leaving, resources
from finpay.ledger import closing
from finpay.ledger.closing import ClosingResult
from finpay.ledger.outcome import REFUSALS, Outcome
from finpay.ledger.resources import account
from finpay.webhooks import endpoints

PAGE: Final = 100
STEPS_PER_UNIT: Final = 10_000  # of the rate limit, as of statements

LISTS: Final[dict[str, tuple[Handler, CursorCodec]]] = {
    "sessions": (sessions.list_, pagination.SESSIONS),
    "api_keys": (api_keys.list_, pagination.API_KEYS),
    "webhook_endpoints": (webhook_endpoints.list_, pagination.ENDPOINTS),
    "holds": (holds.list_, pagination.HOLDS),
    "withdrawals": (withdrawals.list_, pagination.WITHDRAWALS),
    "payment_requests": (payment_requests.list_, pagination.PAYMENT_REQUESTS),
    "schedules": (schedules.list_, pagination.SCHEDULES),
    "transactions": (transactions.list_, pagination.TRANSACTIONS),
    "entries": (accounts.list_entries, pagination.ENTRIES),
}


class _Page(Struct, frozen=True):
    data: list[Raw]
    next_cursor: str | None


async def close_account(services: Services, context: Context) -> Response:
    """204: the account is closed and the person erased, in one commit."""
    caller = context.caller
    await _check_person(services, context)
    async with services.database.transaction() as transaction:
        ended = await _leave(services, context, transaction)
    keys = [ids.encode("key", key) for key in ended.keys]
    await services.gate.end_sessions(caller.user, session_ids(ended.sessions) + keys)
    services.notifier.notify()
    return Response(204, content_type=None, completion=Completion())


async def _check_person(services: Services, context: Context) -> None:
    """401 unless the password is right, and the code where there is a second factor."""
    identity, user_id, command = services.identity, context.caller.user_id, context.command
    user = await identity.me(user_id)
    async with failed_logins.counted(services, context, user.email):
        await identity.check_password(user_id, command.password, context.origin)
        await identity.second_factor.require(user_id, command.code, context.origin)


async def export(services: Services, context: Context) -> Response:
    """All that the other routes show of the person, in one document."""
    found = await services.reads.account(context.caller.user_id)
    if found is None:
        raise accounts.no_account()
    limits = await charge(services, context, found.sequence // STEPS_PER_UNIT)
    user = await services.identity.me(context.caller.user_id)
    head = {
        "object": "export",
        "created_at": format_timestamp(datetime.now(UTC)),
        "user": resources.user(user),
        "account": account(found),
    }
    stream = await started(_export(services, context, encode(head)))
    name = {"Content-Disposition": 'attachment; filename="finpay-export.json"'}
    return Response(200, headers=name, limits=limits, stream=stream)


async def _leave(services: Services, context: Context, transaction: Transaction) -> leaving.Ended:
    """Locks in the order of all others: the user, the endpoints, the account."""
    user_id = context.caller.user_id
    ended = await leaving.erase(transaction, user_id)
    await endpoints.delete_all(transaction, user_id)
    origin = msgspec.structs.replace(origin_of(context), key=None, fingerprint=None)
    result = await closing.close_account(transaction, origin, services.settings.public_url)
    if result.fault is not None:
        raise _refusal(result)
    return ended


def _refusal(result: ClosingResult) -> FinPayError:
    if result.fault == "account_frozen":
        return FinPayError(*REFUSALS[Outcome.ACCOUNT_FROZEN])
    if result.fault == "account_closed":
        return accounts.no_account()
    return FinPayError(
        Code.ACCOUNT_NOT_CLOSABLE,
        "The account is not empty; the field `open` says what is left. Nothing was done.",
        extensions={
            "open": OpenItems(result.balance, result.holds, result.withdrawals, result.approvals)
        },
    )


async def _export(services: Services, context: Context, head: bytes) -> AsyncGenerator[bytes, None]:
    """Each list is read in pages, as its own route answers them."""
    yield head[:-1]
    for name, (handler, codec) in LISTS.items():
        yield f',"{name}":['.encode()
        parameters: dict[str, object] = {"limit": PAGE}
        separator = b""
        while True:
            asked = msgspec.structs.replace(context, parameters=parameters, query={})
            page = msgspec.json.decode((await handler(services, asked)).body, type=_Page)
            if page.data:
                yield separator + b",".join(bytes(item) for item in page.data)
                separator = b","
            if page.next_cursor is None:
                break
            cursor = codec.read(context.caller.account_id, page.next_cursor)
            parameters = {"limit": PAGE, "cursor": cursor}
        yield b"]"
    yield b"}"
