"""Handlers of /schedules."""

from typing import Final
from uuid import UUID

import msgspec

from finpay.edge.handlers import changes
from finpay.edge.handlers.lists import id_before, limit_of, list_response
from finpay.edge.request import pagination
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas.schedules import ScheduleCommand, SchedulePage
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.ledger import schedules
from finpay.ledger.outcome import REFUSALS, Outcome

_REFUSALS: Final = (
    Outcome.ACCOUNT_FROZEN,
    Outcome.SAME_ACCOUNT,
    Outcome.RECEIVER_NOT_FOUND,
    Outcome.CURRENCY_MISMATCH,
)
_TOO_MANY: Final = (
    f"You have {schedules.MAX_ACTIVE} active schedules, the most that one user may have."
)
_INVALID: Final = {
    "start_in_past": ("start_at is in the past.", "#/start_at"),
    "start_too_late": ("start_at is more than 5 years ahead.", "#/start_at"),
    "until_before_start": ("until is before start_at.", "#/until"),
    "too_many_active": (_TOO_MANY, "#"),
}
_CHANGE_REFUSALS: Final = {
    "account_frozen": REFUSALS[Outcome.ACCOUNT_FROZEN],
    "schedule_not_active": (Code.SCHEDULE_NOT_ACTIVE, "This schedule has ended."),
    "validation_failed": (Code.VALIDATION_FAILED, _TOO_MANY),
}


async def create(services: Services, context: Context) -> Response:
    """422 beyond MAX_ACTIVE active ones."""
    command: ScheduleCommand = context.command
    result = await schedules.create(
        services.database,
        changes.origin_of(context),
        command.new,
        changes.refusal_bodies(context, _REFUSALS),
    )
    return changes.created(services, context, result, _INVALID)


async def list_(services: Services, context: Context) -> Response:
    rows = await schedules.list_(
        services.database,
        context.caller.account_id,
        before=id_before(context),
        limit=limit_of(context) + 1,
    )
    return list_response(
        context,
        SchedulePage,
        rows,
        resource=_json,
        codec=pagination.SCHEDULES,
        position=lambda row: pagination.uuid_to_position(row[0]),
    )


async def retrieve(services: Services, context: Context) -> Response:
    """404 for a schedule of another user, as for one that doesn't exist."""
    found = await schedules.get(services.database, context.caller.account_id, _schedule_id(context))
    if found is None:
        raise _no_schedule()
    return Response(200, found.encode())


async def pause(services: Services, context: Context) -> Response:
    return await _change(services, context, "pause")


async def resume(services: Services, context: Context) -> Response:
    """What was due meanwhile is skipped."""
    return await _change(services, context, "resume")


async def cancel(services: Services, context: Context) -> Response:
    return await _change(services, context, "cancel")


async def _change(services: Services, context: Context, command: schedules.Command) -> Response:
    result = await schedules.change(
        services.database, changes.origin_of(context), _schedule_id(context), command
    )
    return changes.changed(services, result, absent=_no_schedule(), refusals=_CHANGE_REFUSALS)


def _json(row: tuple[UUID, msgspec.Raw]) -> msgspec.Raw:
    return row[1]


def _schedule_id(context: Context) -> UUID:
    """The id in the path. 404 for what is not the id of a schedule."""
    return context.path_uuid("sch", _no_schedule())


def _no_schedule() -> FinPayError:
    return FinPayError(Code.NOT_FOUND, "You have no schedule with this id.")
