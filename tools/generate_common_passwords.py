"""Writes finpay/identity/common_passwords.txt from the list of zxcvbn; --check compares only.

zxcvbn is a development dependency. Run this after each upgrade of it.
"""

import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from zxcvbn.frequency_lists import FREQUENCY_LISTS

TARGET: Final = Path(__file__).parents[1] / "src/finpay/identity/common_passwords.txt"
READ_ON: Final = "2026-11-29"
MIN_LENGTH: Final = 8  # shorter passwords are refused for their length

_HEADER: Final = """\
Common passwords, lower case, the most frequent first, of at least {length} characters.
Source: the list "passwords" of zxcvbn {version} (https://pypi.org/project/zxcvbn/{version}/),
compiled by Dan Wheeler at Dropbox from the passwords of public leaks.
Read on {read_on} by tools/generate_common_passwords.py. The list begins after the empty line.
Licence of the list:

{licence}"""


def render() -> str:
    """The file: comments, an empty line, a password a line."""
    source = distribution("zxcvbn")
    licence = source.read_text("LICENSE.txt")
    if licence is None:
        raise FileNotFoundError("zxcvbn is installed without LICENSE.txt")
    header = _HEADER.format(
        length=MIN_LENGTH, version=source.version, read_on=READ_ON, licence=licence.strip()
    )
    comments = "\n".join(f"# {line}".rstrip() for line in header.splitlines())
    passwords = [word for word in FREQUENCY_LISTS["passwords"] if len(word) >= MIN_LENGTH]
    return f"{comments}\n\n" + "\n".join(passwords) + "\n"


def main() -> int:
    if "--check" not in sys.argv:
        TARGET.write_text(render(), "utf-8")
        return 0
    if TARGET.read_text("utf-8") == render():
        return 0
    sys.stderr.write(f"{TARGET.name} is stale: run tools/generate_common_passwords.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
