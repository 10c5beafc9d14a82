"""The supervisor imports nothing of the API: its start and its memory are small."""

import subprocess
import sys
from typing import Final

IMPORTS: Final = """
import sys
import finpay.app.supervisor
print(*[name for name in sys.modules if name.startswith(("finpay.edge", "uvicorn", "asyncpg"))])
"""


def test_supervisor_does_without_the_modules_of_the_api() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == []
