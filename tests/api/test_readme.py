"""The commands and the Python example of the README, run as they are written there."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.api_process import Api

README: Final = Path(__file__).parents[2] / "README.md"
WALK: Final = re.compile(r"<!-- walk:.*?-->\n```sh\n(.*?)```", re.DOTALL)
SDK: Final = re.compile(r"```python\n(from finpay.client.*?)```", re.DOTALL)


def test_the_commands_give_the_results_that_the_readme_shows(seeded: Api) -> None:
    walks = WALK.findall(README.read_text("utf-8"))
    assert len(walks) == 2
    script = "".join(walks).replace("http://127.0.0.1:3000", seeded.url)
    done = subprocess.run(
        ["bash", "-eu", "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    said = done.stdout
    assert '"balance":1000000' in said
    assert said.count("HTTP/1.1 201 Created") == 2
    assert said.lower().count("idempotent-replayed: true") == 1
    bodies = re.findall(r'^\{"id":"txn_[^\n{]*?\{\}[^\n{]*?\}', said, re.MULTILINE)
    assert len(bodies) == 4
    assert bodies[0] == bodies[1]
    assert '"balance_after":997500' in bodies[0]
    assert '"object":"list"' in said
    assert '"status":"ok"' in said
    assert '"type":"refund","status":"completed","direction":"sent","amount":4000' in said
    assert '"status":"captured","direction":"sent","amount":30000,"captured_amount":25000' in said
    assert '"refunded_amount":4000,"origin":"hld_' in said
    # 10 000.00 less 25.00, less 250.00, and 40.00 back
    assert '"balance":976500,"available":976500,"held":0' in said
    seeded.verify()


def test_the_python_example_runs(seeded: Api, capsys: pytest.CaptureFixture[str]) -> None:
    example = SDK.search(README.read_text("utf-8"))
    assert example is not None
    code = example[1].replace("http://127.0.0.1:3000", seeded.url)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  it is our own
    assert "completed 997500" in capsys.readouterr().out
