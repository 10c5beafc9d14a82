"""Bodies of answers that the ledger fills in, as templates of PostgreSQL's format().

Each equals the encoding of its resource, byte for byte; tests compare them. The places are those of
ledger.compose_answers.
"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec

from finpay import ids

_encode: Final = msgspec.json.Encoder().encode

_CURRENCY: Final = "%1$s"
_OTHER_PARTY: Final = "%2$s"
_BALANCE: Final = "%3$s"
_NOW: Final = "%4$s"
_AVAILABLE: Final = "%5$s"
_AMOUNT: Final = "%6$s"
_DESCRIPTION: Final = "%7$s"
_METADATA: Final = "%8$s"
_TAKEN: Final = "%9$s"
_MADE_AT: Final = "%10$s"
_EXPIRES_AT: Final = "%11$s"


def transfer(
    transaction_id: UUID,
    amount: int,
    sender: str,
    description: str | None,
    metadata: bytes,
    *,
    origin: str = "null",
) -> str:
    """A completed transfer, to its sender. `origin` is JSON."""
    # Unrolled, as every transfer makes one.
    return (
        f'{{"id":"{ids.encode("txn", transaction_id)}","object":"transaction","type":"transfer",'
        f'"status":"completed","direction":"sent","amount":{amount},"currency":"%1$s",'
        f'"sender_id":"{sender}","receiver_id":"%2$s","description":{_literal(description)},'
        f'"metadata":{_doubled(metadata)},"balance_after":%3$s,"available_after":%5$s,'
        f'"failure_code":null,"refunded_amount":0,"origin":{origin},"scheduled_for":null,'
        '"created_at":"%4$s"}'
    )


def capture(transaction_id: UUID, hold_id: UUID, receiver: str) -> str:
    """The transfer that a capture made, to its receiver. Its texts are those of the hold."""
    return _transaction(
        transaction_id,
        'transfer","status":"completed","direction":"received',
        parties=(_OTHER_PARTY, receiver),
        texts=(_DESCRIPTION, _METADATA),
        origin=ids.encode("hld", hold_id),
    )


def payment(transaction_id: UUID, request_id: UUID, sender: str) -> str:
    """The transfer that paid a request, to its sender. Its texts are those of the request."""
    return _transaction(
        transaction_id,
        'transfer","status":"completed","direction":"sent',
        parties=(sender, _OTHER_PARTY),
        texts=(_DESCRIPTION, _METADATA),
        origin=ids.encode("prq", request_id),
    )


def refund(
    transaction_id: UUID, refunded_id: UUID, sender: str, description: str | None, metadata: bytes
) -> str:
    """A completed refund, to its sender: the receiver of the refunded transaction."""
    return _transaction(
        transaction_id,
        'refund","status":"completed","direction":"sent',
        parties=(sender, _OTHER_PARTY),
        texts=(_literal(description), _doubled(metadata)),
        origin=ids.encode("txn", refunded_id),
    )


def _transaction(
    transaction_id: UUID,
    kind: str,
    *,
    parties: tuple[str, str],
    texts: tuple[str, str],
    origin: str,
) -> str:
    return (
        f'{{"id":"{ids.encode("txn", transaction_id)}","object":"transaction","type":"{kind}",'
        f'"amount":{_AMOUNT},"currency":"{_CURRENCY}",'
        f'"sender_id":"{parties[0]}","receiver_id":"{parties[1]}",'
        f'"description":{texts[0]},"metadata":{texts[1]},"balance_after":{_BALANCE},'
        f'"available_after":{_AVAILABLE},"failure_code":null,"refunded_amount":0,'
        f'"origin":"{origin}","scheduled_for":null,"created_at":"{_NOW}"}}'
    )


def hold(hold_id: UUID, amount: int, sender: str, description: str | None, metadata: bytes) -> str:
    """An open hold, to its sender."""
    return (
        f'{{"id":"{ids.encode("hld", hold_id)}","object":"hold","status":"open",'
        f'"direction":"sent","amount":{amount},"captured_amount":0,"remaining":{amount},'
        f'"currency":"{_CURRENCY}","sender_id":"{sender}","receiver_id":"{_OTHER_PARTY}",'
        f'"description":{_literal(description)},"metadata":{_doubled(metadata)},'
        f'"expires_at":"{_EXPIRES_AT}","created_at":"{_NOW}"}}'
    )


def voided_hold(hold_id: UUID, receiver: str) -> str:
    """A voided hold, to its receiver."""
    return (
        f'{{"id":"{ids.encode("hld", hold_id)}","object":"hold","status":"voided",'
        f'"direction":"received","amount":{_AMOUNT},"captured_amount":{_TAKEN},"remaining":0,'
        f'"currency":"{_CURRENCY}","sender_id":"{_OTHER_PARTY}","receiver_id":"{receiver}",'
        f'"description":{_DESCRIPTION},"metadata":{_METADATA},'
        f'"expires_at":"{_EXPIRES_AT}","created_at":"{_MADE_AT}"}}'
    )


def withdrawal(
    withdrawal_id: UUID, amount: int, destination: Mapping[str, str], description: str | None
) -> str:
    """A pending withdrawal, to its owner, with a masked destination."""
    return _withdrawal(
        withdrawal_id,
        ("pending", str(amount), _literal(description), _NOW),
        destination,
    )


def canceled_withdrawal(withdrawal_id: UUID, destination: Mapping[str, str]) -> str:
    """A canceled withdrawal, to its owner, with a masked destination."""
    return _withdrawal(withdrawal_id, ("canceled", _AMOUNT, _DESCRIPTION, _MADE_AT), destination)


def _withdrawal(
    withdrawal_id: UUID, members: tuple[str, str, str, str], destination: Mapping[str, str]
) -> str:
    status, amount, description, created_at = members
    masked = _encode({name: mask(value) for name, value in destination.items()})
    return (
        f'{{"id":"{ids.encode("wdr", withdrawal_id)}","object":"withdrawal",'
        f'"status":"{status}","amount":{amount},"currency":"{_CURRENCY}",'
        f'"destination":{_doubled(masked)},"description":{description},"reference":null,'
        f'"reason":null,"transaction_id":null,"created_at":"{created_at}"}}'
    )


def mask(value: str) -> str:
    """The last four characters; nothing of a value of four or fewer."""
    return value[-4:] if len(value) > 4 else ""


def _literal(text: str | None) -> str:
    return _doubled(_encode(text))


def _doubled(json: bytes) -> str:
    return json.decode().replace("%", "%%")
