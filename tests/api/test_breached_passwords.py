"""FINPAY_BREACHED_PASSWORDS over HTTP: registering, changing and resetting a password."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.api.assertions import invalid
from tests.api.second_factors import post
from tests.api.test_password_reset import TOKEN, give_token, reset
from tests.api_process import PASSWORD, Api

BREACHED: Final = "a password that was in a breach"


@pytest.mark.contract("12.8.1")
def test_a_breached_password_is_refused_everywhere(
    serve: Callable[..., Api], tmp_path: Path
) -> None:
    digest = hashlib.sha1(BREACHED.encode(), usedforsecurity=False).hexdigest().upper()
    path = tmp_path / "breached"
    path.write_text(f"{digest[:16]}\n")
    api = serve(FINPAY_BREACHED_PASSWORDS=str(path))
    body = {"email": "breached@example.com", "password": BREACHED}
    invalid(post(api, "/auth/register", body), "#/password")
    user = api.user()
    change = user.post("/auth/password", current_password=PASSWORD, new_password=BREACHED)
    invalid(change, "#/new_password")
    give_token(api, user)
    invalid(reset(api, TOKEN, BREACHED), "#/new_password")
    assert reset(api, TOKEN).status == 204


@pytest.mark.contract("12.8.1")
def test_a_file_of_another_form_stops_the_start(serve: Callable[..., Api], tmp_path: Path) -> None:
    path = tmp_path / "breached"
    path.write_text("not a hash\n")
    api = serve(ready=False, FINPAY_BREACHED_PASSWORDS=str(path))
    assert api.process.wait(20) == 2
    assert "FINPAY_BREACHED_PASSWORDS" in api.log.read_text()
