"""Responses to changes that an idempotency key may protect but does not have to."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from finpay import ids
from finpay.edge.handlers import transactions
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import problems
from finpay.edge.services import Services
from finpay.errors import ERROR_SPECS, Code, FinPayError, validation_failed
from finpay.gate.gate import Completion
from finpay.ledger.changes import COMPLETED, ChangeOrigin, ChangeResult
from finpay.ledger.operator_actions import CommandResult
from finpay.ledger.outcome import REFUSALS, Outcome


def origin_of(context: Context) -> ChangeOrigin:
    """The caller as the ledger records the change. Only routes that take a key have one."""
    return ChangeOrigin(
        context.caller.user_id,
        context.request_id,
        context.client_ip,
        context.key or None,
        context.fingerprint if context.key else None,
    )


def refusal_bodies(context: Context, outcomes: Sequence[Outcome]) -> list[str]:
    """The problems that the ledger stores with the key, should it refuse."""
    return [
        problems.body(FinPayError(*REFUSALS[outcome]), context.request_id).decode()
        for outcome in outcomes
    ]


def created(
    services: Services,
    context: Context,
    result: ChangeResult,
    invalid: Mapping[str, tuple[str, str]],
) -> Response:
    """The response to a creation, as it is stored with the key. 422 with the sentence and the
    pointer of one of `invalid`, which are not stored."""
    if result.invalid is not None:
        detail, pointer = invalid[result.invalid]
        raise validation_failed(detail, pointer=pointer)
    if result.outcome != Outcome.DUPLICATE:
        services.notifier.notify()
    return stored(context, result)


def stored(
    context: Context,
    result: ChangeResult | CommandResult,
    *,
    receivers: Sequence[UUID] = (),
) -> Response:
    """The response that the ledger stored, if there is a key."""
    answer = (result.answer or "").encode()
    if result.outcome == Outcome.IDEMPOTENCY_KEY_REUSE:
        response = problems.response(transactions.key_reused(), context.request_id)
    else:
        response = transactions.stored_response(result.http_status or 0, answer)
        if result.outcome != Outcome.DUPLICATE:
            response.headers.clear()
    if result.fingerprint is not None:
        response.completion = Completion(
            answer=(result.fingerprint, result.http_status or 0, answer),
            receivers=[ids.encode("usr", user) for user in receivers],
        )
    return response


def changed(
    services: Services,
    result: ChangeResult,
    *,
    absent: FinPayError,
    refusals: Mapping[str, tuple[Code, str]],
) -> Response:
    """200 with the resource after the change. Raises `absent` or one of `refusals`."""
    if result.outcome == COMPLETED:
        services.notifier.notify()
        return Response(200, (result.answer or "").encode())
    if result.outcome == "not_found":
        raise absent
    code, detail = refusals[result.outcome]
    extensions = {}
    if ERROR_SPECS[code].status == 409:
        extensions["status_now"] = result.status_now or ""
    raise FinPayError(code, detail, extensions=extensions)
