"""The form of API keys."""

import re

import pytest

from finpay.identity import api_keys
from finpay.identity.api_keys import new_secret


def test_keys_have_a_prefix_a_random_part_and_a_checksum() -> None:
    keys = {new_secret() for _ in range(1_000)}
    assert len(keys) == 1_000
    for key in keys:
        assert re.fullmatch("fpk_[0-9A-Za-z]{46}", key)
        assert api_keys.is_well_formed(key)


def test_every_changed_character_is_noticed() -> None:
    key = new_secret()
    for index in range(4, len(key)):
        for character in "0Zz":
            changed = key[:index] + character + key[index + 1 :]
            assert api_keys.is_well_formed(changed) is (changed == key)


@pytest.mark.parametrize(
    "text", ["", "fpk_", "fpk_é", "FPK_" + "0" * 46, "fpk_" + "0" * 46, "fpk_" + "0" * 500]
)
def test_other_texts_are_no_keys(text: str) -> None:
    assert not api_keys.is_well_formed(text)
    assert not api_keys.is_well_formed(new_secret() + "\n")
    assert not api_keys.is_well_formed(" " + new_secret())


def test_checksum_is_that_of_the_documented_example() -> None:
    """Scanners compute it: CRC-32 of the random part, in base 62."""
    assert api_keys.is_well_formed("fpk_" + "A" * 40 + "0mipaC")


def test_hash_is_of_any_text() -> None:
    assert len(api_keys.hash_of("\ud800")) == 32
