"""An event's id contains its sequence, which only the id of its account can extract."""

from uuid import RFC_4122, UUID

from hypothesis import example, given
from hypothesis import strategies as st

from finpay import ids
from finpay.outbox import event_ids

SEQUENCES = st.integers(1, 2**63 - 1)
ALICE, BOB = UUID(int=1), UUID(int=2)


@given(st.uuids(), SEQUENCES)
@example(ALICE, 1)
@example(ALICE, 2**63 - 1)
def test_the_sequence_is_computed_from_the_account_and_the_id(account: UUID, sequence: int) -> None:
    event_id = event_ids.derive(account, sequence)
    assert event_ids.sequence_of(account, event_id) == sequence
    assert (event_id.version, event_id.variant) == (8, RFC_4122)
    public = ids.encode("evt", event_id)
    assert ids.decode("evt", public) == event_id


@given(st.uuids(), st.uuids(), SEQUENCES)
def test_the_id_has_no_sequence_in_another_account(owner: UUID, other: UUID, sequence: int) -> None:
    found = event_ids.sequence_of(other, event_ids.derive(owner, sequence))
    assert (found is None) == (owner != other)


@given(st.uuids(), st.uuids())
def test_any_other_uuid_has_no_sequence(account: UUID, event_id: UUID) -> None:
    sequence = event_ids.sequence_of(account, event_id)
    assert sequence is None or event_ids.derive(account, sequence) == event_id


@given(st.uuids())
def test_sequences_out_of_range_are_not_found(account: UUID) -> None:
    assert event_ids.sequence_of(account, event_ids.derive(account, 0)) is None
    assert event_ids.sequence_of(account, event_ids.derive(account, 2**63)) is None


@given(st.uuids(), SEQUENCES, SEQUENCES)
def test_ids_of_one_account_sort_as_their_sequences(account: UUID, one: int, other: int) -> None:
    first, second = (
        ids.encode("evt", event_ids.derive(account, sequence)) for sequence in (one, other)
    )
    assert (first < second) == (one < other)
    assert (first == second) == (one == other)


@given(st.uuids(), SEQUENCES, st.integers(0, 127))
def test_a_flipped_bit_gives_another_sequence_or_none(
    account: UUID, sequence: int, bit: int
) -> None:
    event_id = event_ids.derive(account, sequence)
    changed = UUID(int=event_id.int ^ 1 << bit)
    assert event_ids.sequence_of(account, changed) != sequence


def test_accounts_that_differ_by_one_bit_have_ids_far_apart() -> None:
    alice, bob = (event_ids.derive(account, 1).int for account in (ALICE, BOB))
    assert abs(alice - bob) > 2**80


def test_ids_are_the_same_in_every_release() -> None:
    """Receivers store them to detect repetitions: changing the derivation breaks that."""
    assert ids.encode("evt", event_ids.derive(ALICE, 1)) == "evt_2fwj9ytfadhwqbvwr8fw40rdp4"
