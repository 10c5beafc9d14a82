"""TypeIDs: the vectors of the specification, and exactly one text for each id."""

import runpy
import sys
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finpay import ids

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

# https://github.com/jetify-com/typeid/blob/main/spec/valid.yml
VECTORS = [
    ("00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
    ("00000000000000000000000001", "00000000-0000-0000-0000-000000000001"),
    ("0000000000000000000000000a", "00000000-0000-0000-0000-00000000000a"),
    ("0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"),
    ("00000000000000000000000010", "00000000-0000-0000-0000-000000000020"),
    ("7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ("0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
    ("01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ("01h2xcejqtf2nbrexx3vqjhp41", "0188bac7-4afa-78aa-bc3b-bd1eef28d881"),
]


@pytest.mark.parametrize(("suffix", "uuid"), VECTORS)
def test_vectors_of_the_specification(suffix: str, uuid: str) -> None:
    assert ids.encode("txn", UUID(uuid)) == f"txn_{suffix}"
    assert ids.decode("txn", f"txn_{suffix}") == UUID(uuid)


@given(st.uuids())
def test_encoded_uuid_is_decoded_to_itself(uuid: UUID) -> None:
    for prefix in ("acc", "usr"):
        assert ids.decode(prefix, ids.encode(prefix, uuid)) == uuid


@given(st.uuids(), st.uuids())
def test_ids_sort_like_their_uuids(one: UUID, other: UUID) -> None:
    assert (ids.encode("acc", one) < ids.encode("acc", other)) is (one < other)


GOOD = "01h455vb4pex5vsknk084sn02q"


@pytest.mark.contract("1.1.4")
@pytest.mark.parametrize(
    "text",
    [
        "", "acc", "acc_", GOOD, f"_{GOOD}", f"usr_{GOOD}", f"ACC_{GOOD}", f"acc-{GOOD}",
        f"acc_{GOOD.upper()}", f"acc_{GOOD[:-1]}", f"acc_{GOOD}0", f" acc_{GOOD}", f"acc_{GOOD}\n",
        f"acc__{GOOD[1:]}", f"acc_8{GOOD[1:]}", f"acc_z{GOOD[1:]}", f"acc_{GOOD[:-1]}u",
        f"acc_{GOOD[:-1]}i", f"acc_{GOOD[:-1]}l", f"acc_{GOOD[:-1]}o", f"acc_{GOOD[:-1]}é",
        f"acc_{GOOD[:-1]}\x00", f"acc_{GOOD[:-1]}-", f"acc_!{GOOD[1:]}", f"acc_٠{GOOD[1:]}",
        "acc_018f0e2c-0000-7000-8000-000000000000", f"acc_acc_{GOOD}", f"acc_{GOOD[:-1]}\ud800",
    ],
)  # fmt: skip
def test_malformed_id_is_refused(text: str) -> None:
    with pytest.raises(ids.MalformedId):
        ids.decode("acc", text)


@given(st.text(alphabet=ALPHABET + "ilou_ 8", min_size=24, max_size=28))
def test_decoded_id_is_encoded_to_the_same_text(suffix: str) -> None:
    try:
        uuid = ids.decode("acc", f"acc_{suffix}")
    except ids.MalformedId:
        return
    assert ids.encode("acc", uuid) == f"acc_{suffix}"


@pytest.mark.parametrize("installed", [True, False])
def test_new_uuids_are_of_version_7_and_in_order_of_time(
    monkeypatch: pytest.MonkeyPatch, *, installed: bool
) -> None:
    """The client is installed without uuid_utils."""
    if not installed:
        monkeypatch.setitem(sys.modules, "uuid_utils", None)
    module = runpy.run_path(ids.__file__)
    made: list[UUID] = [module["new_uuid"]() for _ in range(1_000)]
    assert {(type(uuid), uuid.version, uuid.variant) for uuid in made} == {(UUID, 7, RFC_4122)}
    assert ids.decode("req", module["new_request_id"]()).version == 7
    assert len(set(made)) == 1_000
    milliseconds = [uuid.int >> 80 for uuid in made]
    assert milliseconds == sorted(milliseconds)


@pytest.mark.contract("1.1.4")
def test_prefixes_are_those_of_the_contract() -> None:
    contract = "usr_ acc_ txn_ ent_ evt_ whe_ whd_ ses_ req_ hld_ wdr_ prq_ sch_ apr_ key_"
    assert sorted(contract.split()) == sorted(f"{prefix}_" for prefix in ids.PREFIXES)
