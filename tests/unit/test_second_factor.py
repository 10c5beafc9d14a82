"""Time-based codes: the test vectors of RFC 6238, and the time around a code."""

from base64 import b32encode
from typing import Final

import pytest

from finpay.identity.second_factor import STEP_S, matching_step

SECRET: Final = b32encode(b"12345678901234567890").decode()
# Appendix B: seconds since 1970, and the last six of eight digits (SHA-1).
VECTORS: Final = [
    (59, "287082"),
    (1_111_111_109, "081804"),
    (1_111_111_111, "050471"),
    (1_234_567_890, "005924"),
    (2_000_000_000, "279037"),
    (20_000_000_000, "353130"),
]


@pytest.mark.contract("12.7.1")
@pytest.mark.parametrize(("moment", "code"), VECTORS)
def test_a_code_belongs_to_the_step_of_its_moment(moment: int, code: str) -> None:
    assert matching_step(SECRET, code, moment) == moment // STEP_S
    assert matching_step(SECRET, code[:-1] + "x", moment) is None


@pytest.mark.contract("12.7.3")
@pytest.mark.parametrize(
    ("offset_s", "is_accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)]
)
def test_one_step_before_and_after_is_accepted(offset_s: int, *, is_accepted: bool) -> None:
    moment, code = VECTORS[1]
    found = matching_step(SECRET, code, moment + offset_s)
    assert found == (moment // STEP_S if is_accepted else None)
