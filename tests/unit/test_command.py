"""The command `finpay` where only the client is installed."""

import importlib.util
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from finpay import __main__ as command

PYPROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("missing", command.SERVER_MODULES)
def test_command_without_a_package_of_the_server_says_what_to_install_and_exits_with_2(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        command, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    with pytest.raises(SystemExit) as exited:
        command.main()
    written = capsys.readouterr()
    assert (exited.value.code, written.out) == (2, "")
    assert written.err.count("\n") == 1
    assert "finpay[server]" in written.err
    assert "finpay[dev]" in written.err


def test_modules_that_the_command_asks_for_are_of_the_extra_server() -> None:
    project: dict[str, Any] = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    server = {text.partition(">")[0].partition("[")[0]
              for text in project["optional-dependencies"]["server"]}  # fmt: skip
    assert set(command.SERVER_MODULES) <= server
