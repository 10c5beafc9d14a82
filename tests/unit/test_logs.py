"""Lines of the log: JSON, one format of time, one line each whatever their values contain."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from finpay.telemetry import logs

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
PROGRAM = """
import logging
import msgspec
from finpay.telemetry import logs

class Record(msgspec.Struct):
    time: str
    level: str
    event: str

logs.configure("info")
logs.get().info("started", version="1", text="a\\nb\\rc")
logs.get().debug("hidden")
try:
    1 / 0
except ZeroDivisionError:
    logs.get().exception("unhandled_exception")
    logging.getLogger("library").warning("from a library", exc_info=True)
logs.get().error("task_failed", exc_info=LookupError("of a task"))
logs.write_records([Record(logs.timestamp(), "info", "request") for _ in range(2)])
"""


def written() -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.fault("O1")
def test_every_line_has_the_same_format_of_time() -> None:
    lines = written()
    assert [line["event"] for line in lines] == [
        "started", "unhandled_exception", "from a library", "task_failed", "request", "request",
    ]  # fmt: skip
    for line in lines:
        assert TIME.fullmatch(line["time"]), line
        assert list(line)[:3] == ["time", "level", "event"]
    assert [line["level"] for line in lines] == [
        "info", "error", "warning", "error", "info", "info",
    ]  # fmt: skip
    assert lines[0]["text"] == "a\nb\rc"
    assert "ZeroDivisionError" in lines[1]["exception"]
    assert (lines[2]["source"], "Traceback" in lines[2]["exception"]) == ("library", True)
    assert "of a task" in lines[3]["exception"]
    assert not any("exc_info" in line for line in lines)


def test_timestamps_have_microseconds_also_when_they_are_zero() -> None:
    assert all(TIME.fullmatch(logs.timestamp()) for _ in range(1_000))
