"""A list of breached passwords: searched in a sorted file, checked when it is opened."""

import hashlib
from pathlib import Path

import pytest

from finpay.errors import FinPayError
from finpay.identity.breached_passwords import BreachedPasswords
from finpay.settings import SettingsError

BREACHED = [f"breached {number}" for number in range(1_000)]


def hashed(password: str) -> str:
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def list_of(path: Path, passwords: list[str], length: int) -> str:
    lines = sorted({hashed(password)[:length] for password in passwords})
    path.write_text("".join(f"{line}\n" for line in lines), "ascii")
    return str(path)


@pytest.mark.contract("12.8.1")
@pytest.mark.parametrize("length", [10, 20, 40])
@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_all_of_the_list_are_found_and_no_other(tmp_path: Path, size: int, length: int) -> None:
    breached = BreachedPasswords(list_of(tmp_path / "list", BREACHED[:size], length))
    assert all(breached.has(password) for password in BREACHED[:size])
    others = [f"other {number}" for number in range(200)]
    assert not any(breached.has(password) for password in [*others, *BREACHED[size:], "", "\ud800"])


@pytest.mark.contract("12.8.1")
def test_a_breached_one_is_named_by_its_member(tmp_path: Path) -> None:
    breached = BreachedPasswords(list_of(tmp_path / "list", BREACHED, 40))
    breached.check("another one", "#/password")
    with pytest.raises(FinPayError, match="breach") as refused:
        breached.check(BREACHED[7], "#/new_password")
    (fault,) = refused.value.field_errors
    assert fault.pointer == "#/new_password"


def test_without_a_file_there_are_none() -> None:
    assert not BreachedPasswords(None).has("password")


@pytest.mark.contract("12.8.1")
@pytest.mark.parametrize(
    "content",
    ["", "x\n", "ABCDEF\n", "abcdef0123\n", "ABCDEF0123", "ABCDEF0123:7\n", "ABCDEF0123\nABC\n",
     "ABCDEF0123\r\n", f"{'A' * 41}\n"],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(content.encode())
    with pytest.raises(SettingsError, match="FINPAY_BREACHED_PASSWORDS"):
        BreachedPasswords(str(path))


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="FINPAY_BREACHED_PASSWORDS"):
        BreachedPasswords(str(tmp_path / "none"))
