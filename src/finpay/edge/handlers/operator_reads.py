"""Handlers of what operators and auditors read about users, accounts and transactions."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw

from finpay.edge.handlers.lists import id_before, limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.request.pagination import DEFAULT_LIMIT, uuid_to_position
from finpay.edge.response import Response
from finpay.edge.schemas import operators as schemas
from finpay.edge.schemas.responses import EntryList, encode, entry
from finpay.edge.schemas.templates import mask
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.identity.resources import User
from finpay.ids import Prefix
from finpay.ledger import holds, operator_commands, reads
from finpay.ledger.resources import account
from finpay.ledger.withdrawals import Withdrawal
from finpay.operators import accounts, resources, transactions, users


async def list_users(services: Services, context: Context) -> Response:
    rows = await users.page(
        services.database,
        before=id_before(context),
        email=context.parameters.get("email"),
        status=context.parameters.get("status"),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        schemas.OperatorUserList,
        rows,
        resource=resources.user,
        codec=pagination.ALL_USERS,
        position=lambda row: uuid_to_position(row.id),
    )


async def retrieve_user(services: Services, context: Context) -> Response:
    found = await users.get(services.database, _target(context, "usr"))
    if found is None:
        raise _absent()
    return Response(200, encode(resources.user(found)))


async def retrieve_account(services: Services, context: Context) -> Response:
    """The account with the newest of its entries, holds and freezes."""
    account_id, database = _target(context, "acc"), services.database
    found = await _account(services, account_id)
    owner, entries, held, freezes = await asyncio.gather(
        users.get(database, found.user_id),
        _entries(services, account_id, None, DEFAULT_LIMIT),
        _holds(services, account_id, None, DEFAULT_LIMIT),
        accounts.status_changes(database, account_id, before_sequence=None, limit=DEFAULT_LIMIT),
    )
    if owner is None:
        raise _absent()
    shown = account(found.account)
    user = resources.user(owner)
    body = schemas.OperatorAccount(
        **{name: getattr(shown, name) for name in shown.__struct_fields__},
        user=User(
            user.id, user.object, user.email, user.name, user.email_verified, user.created_at
        ),
        entries=[entry(row, shown.currency) for row in entries],
        holds=[resources.hold(row) for row in held],
        freezes=[resources.status_change(row) for row in freezes],
    )
    return Response(200, encode(body))


async def list_entries(services: Services, context: Context) -> Response:
    found = await _account(services, _target(context, "acc"))
    (before,) = context.parameters.get("cursor", (None,))
    rows = await _entries(services, found.account.id, before, limit_of(context) + 1)
    return list_response(
        context,
        EntryList,
        rows,
        resource=lambda row: entry(row, found.account.currency),
        codec=pagination.ENTRIES,
        position=lambda row: (row.version,),
    )


async def list_holds(services: Services, context: Context) -> Response:
    found = await _account(services, _target(context, "acc"))
    rows = await _holds(services, found.account.id, id_before(context), limit_of(context) + 1)
    return list_response(
        context,
        schemas.OperatorHoldList,
        rows,
        resource=resources.hold,
        codec=pagination.HOLDS,
        position=lambda row: uuid_to_position(row.id),
    )


async def list_freezes(services: Services, context: Context) -> Response:
    found = await _account(services, _target(context, "acc"))
    (before,) = context.parameters.get("cursor", (None,))
    rows = await accounts.status_changes(
        services.database, found.account.id, before_sequence=before, limit=limit_of(context) + 1
    )
    return list_response(
        context,
        schemas.StatusChangeList,
        rows,
        resource=resources.status_change,
        codec=pagination.STATUS_CHANGES,
        position=lambda row: (row.sequence,),
    )


async def list_withdrawals(services: Services, context: Context) -> Response:
    rows = await operator_commands.list_withdrawals(
        services.database,
        status=context.parameters.get("status"),
        before=id_before(context),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        schemas.OperatorWithdrawalList,
        rows,
        resource=partial(_withdrawal, context),
        codec=pagination.ALL_WITHDRAWALS,
        position=lambda row: uuid_to_position(row.id),
    )


async def retrieve_withdrawal(services: Services, context: Context) -> Response:
    found = await transactions.get_withdrawal(services.database, _target(context, "wdr"))
    if found is None:
        raise _absent()
    return Response(200, encode(_withdrawal(context, found)))


async def list_transactions(services: Services, context: Context) -> Response:
    page = await transactions.page(
        services.database,
        before=id_before(context),
        filters=transactions.Filters(**_filters(context)),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        schemas.OperatorTransactionList,
        page.rows,
        resource=lambda row: Raw(row.answer.encode()),
        codec=pagination.ALL_TRANSACTIONS,
        position=lambda row: uuid_to_position(row.id),
        scanned_to=None if page.scanned_to is None else uuid_to_position(page.scanned_to),
    )


async def retrieve_transaction(services: Services, context: Context) -> Response:
    return _shown(await transactions.get(services.database, _target(context, "txn")))


async def list_approvals(services: Services, context: Context) -> Response:
    rows = await transactions.approvals(
        services.database,
        before=id_before(context),
        status=context.parameters.get("status"),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        schemas.ApprovalList,
        rows,
        resource=lambda row: Raw(row.answer.encode()),
        codec=pagination.APPROVALS,
        position=lambda row: uuid_to_position(row.id),
    )


async def retrieve_approval(services: Services, context: Context) -> Response:
    return _shown(await transactions.get_approval(services.database, _target(context, "apr")))


async def _account(services: Services, account_id: UUID) -> accounts.OwnedAccount:
    found = await accounts.get(services.database, account_id)
    if found is None:
        raise _absent()
    return found


async def _entries(
    services: Services, account_id: UUID, before: int | None, limit: int
) -> Sequence[reads.Entry]:
    return await reads.entries(
        services.database,
        account_id,
        before_version=before,
        created_from=None,
        created_to=None,
        limit=limit,
    )


async def _holds(
    services: Services, account_id: UUID, before: UUID | None, limit: int
) -> Sequence[holds.Hold]:
    page = await holds.page(
        services.database, account_id, before=before, filters=holds.Filters(), limit=limit
    )
    return page.rows


def _withdrawal(context: Context, row: Withdrawal) -> resources.OperatorWithdrawal:
    """Who pays it reads the destination whole; an auditor reads the last characters."""
    shown = resources.withdrawal(row)
    if context.caller.role == "operator":
        return shown
    masked = {name: mask(value) for name, value in shown.destination.items()}
    return msgspec.structs.replace(shown, destination=masked)


def _filters(context: Context) -> dict[str, Any]:
    paging = {"limit", "cursor"}
    return {name: each for name, each in context.parameters.items() if name not in paging}


def _shown(answer: str | None) -> Response:
    if answer is None:
        raise _absent()
    return Response(200, answer.encode())


def _target(context: Context, prefix: Prefix) -> UUID:
    return context.path_uuid(prefix, _absent())


def _absent() -> FinPayError:
    return FinPayError(Code.NOT_FOUND, "There is nothing with this id.")
