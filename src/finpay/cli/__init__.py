"""The command line: starts, operates and checks FinPay.

One module per group of commands. Each command imports what it needs when it runs, so that
`finpay --help` is quick.
"""

from finpay.cli.main import main

__all__ = ["main"]
