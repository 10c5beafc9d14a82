"""The command line in this process: its output and its exit code."""

import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any
from unittest.mock import patch

import pytest

from finpay.cli import main


class Finpay:
    """`finpay …` in this process; DATABASE_URL is the only setting in its environment."""

    def __init__(self, url: str) -> None:
        self.environ = {"PATH": os.environ["PATH"], "DATABASE_URL": url}

    def __call__(self, *words: str, code: int = 0) -> "Output":
        out, err = StringIO(), StringIO()
        with (
            patch.dict(os.environ, self.environ, clear=True),
            patch.object(sys, "argv", ["finpay", *words]),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as end,
        ):
            main()
        assert end.value.code == code, out.getvalue() + err.getvalue()
        assert "Traceback" not in err.getvalue()
        return Output(out.getvalue(), err.getvalue())


@dataclass(frozen=True, slots=True)
class Output:
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.err == ""
        return json.loads(self.out)
