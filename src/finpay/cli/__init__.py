"""The command line: every way to start FinPay, to operate it, and to prove it.

One module per group of commands. Imports of the parts are inside the commands, so that
`finpay --help` is quick.
"""

from finpay.cli.main import main

__all__ = ["main"]
