"""The id of an event, derived from its account and sequence, so that no column or index stores it.

The id is a UUIDv8: of its 122 free bits the lower 121 are a hash of the account plus the sequence.
So the ids of one account's events are in order, and the sequence can be computed from the account
and the id. Ids of two accounts collide if their hashes differ by less than they have events: with
10^9 accounts of 10^6 events each the chance is below 10^-6.
"""

import hashlib
from typing import Final
from uuid import UUID

_HASH_BITS: Final = 121  # one below the free bits, so that the sum never overflows
_MIDDLE_BITS: Final = 12
_LOW_BITS: Final = 62
_VERSION: Final = 8 << 76
_VARIANT: Final = 2 << 62
_MAX_SEQUENCE: Final = 2**63 - 1  # a bigint


def derive(account_id: UUID, sequence: int) -> UUID:
    """The event's id."""
    total = _hash(account_id) + sequence
    low = total & (1 << _LOW_BITS) - 1
    middle = total >> _LOW_BITS & (1 << _MIDDLE_BITS) - 1
    high = total >> _LOW_BITS + _MIDDLE_BITS
    return UUID(int=high << 80 | _VERSION | middle << 64 | _VARIANT | low)


def sequence_of(account_id: UUID, event_id: UUID) -> int | None:
    """The sequence within this account; None if the id is not of one of its events."""
    bits = event_id.int
    high, middle = bits >> 80, bits >> 64 & (1 << _MIDDLE_BITS) - 1
    total = (high << _MIDDLE_BITS | middle) << _LOW_BITS | bits & (1 << _LOW_BITS) - 1
    sequence = total - _hash(account_id)
    if not 0 < sequence <= _MAX_SEQUENCE or derive(account_id, sequence) != event_id:
        return None
    return sequence


def _hash(account_id: UUID) -> int:
    digest = hashlib.blake2b(account_id.bytes, digest_size=16, person=b"finpay event id").digest()
    return int.from_bytes(digest) >> 128 - _HASH_BITS
