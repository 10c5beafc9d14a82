"""Programs of the system that some tests need: other HTTP clients and proxies."""

import os
import shutil

import pytest


def find_program(name: str, package: str) -> str:
    """Its path. Without it the test is skipped; in CI, which installs all of them, it fails."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        missing = f"{name} is not installed: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found
