"""The name of an event, derived from its place, so that no column and no index has to keep it.

A place is an account and a number of its sequence. The id is a UUIDv8: of its 122 free bits the
lower 121 begin as a hash of the account, and the number is added to it. So the events of one
account have ids in their own order, whoever knows the account finds the number again, and two
accounts would need hashes that differ by less than they have events: with 10^9 accounts of 10^6
events each the chance is below 10^-6.
"""

import hashlib
from typing import Final
from uuid import UUID

_HASH_BITS: Final = 121  # one below the free bits: no sum can run over
_MIDDLE_BITS: Final = 12
_LOW_BITS: Final = 62
_VERSION: Final = 8 << 76
_VARIANT: Final = 2 << 62
_MAX_SEQUENCE: Final = 2**63 - 1  # a bigint


def derive(account_id: UUID, sequence: int) -> UUID:
    """The event's id."""
    number = _start(account_id) + sequence
    low = number & (1 << _LOW_BITS) - 1
    middle = number >> _LOW_BITS & (1 << _MIDDLE_BITS) - 1
    high = number >> _LOW_BITS + _MIDDLE_BITS
    return UUID(int=high << 80 | _VERSION | middle << 64 | _VARIANT | low)


def sequence_of(account_id: UUID, event_id: UUID) -> int | None:
    """Which number of this account the id names; None where it names none."""
    bits = event_id.int
    high, middle = bits >> 80, bits >> 64 & (1 << _MIDDLE_BITS) - 1
    number = (high << _MIDDLE_BITS | middle) << _LOW_BITS | bits & (1 << _LOW_BITS) - 1
    sequence = number - _start(account_id)
    if not 0 < sequence <= _MAX_SEQUENCE or derive(account_id, sequence) != event_id:
        return None
    return sequence


def _start(account_id: UUID) -> int:
    digest = hashlib.blake2b(account_id.bytes, digest_size=16, person=b"finpay event id").digest()
    return int.from_bytes(digest) >> 128 - _HASH_BITS
